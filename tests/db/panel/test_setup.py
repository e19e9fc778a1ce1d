"""The guided first set-up: a new tenant's admin comes from nothing to a first answer."""

import pytest
from django.contrib.admin.models import LogEntry

from tests import admin_pages
from tests.admin_pages import count_queries
from tests.build import API_KEY, make_agent, make_prompt, make_provider
from tests.panel_browser import SCHEMES, WIDTHS, assert_sound, open_page
from zango_ai.models import AgentConfig, Invocation, Prompt, Provider
from zango_ai.testing import Reply

OVERVIEW = "/admin/zango_ai/"
ALL = [
    *(f"{verb}_{name}" for verb in ("view", "add", "change") for name in ("provider", "prompt", "agentconfig")),
    *("view_invocation", "run_agent", "activate_prompt", "add_providermodel"),
]


@pytest.fixture
def staff(client_of):
    return client_of(*ALL)


def url(step):
    return admin_pages.url("setup_step", step)


def html(response):
    assert response.status_code == 200, response.content
    return response.content.decode()


def account(model, **values):
    return {
        **{"kind": "openai", "name": "Clinic account", "default_model": "gpt-4o-mini", "api_key": API_KEY},
        "api_base": model.openai_base,
        **values,
    }


@pytest.mark.parametrize(("width", "scheme"), [*zip(WIDTHS, SCHEMES, strict=True)])
def test_a_newcomer_goes_from_an_empty_tenant_to_the_first_answer(browser, site, model, width, scheme):
    page = open_page(browser, site, width=width, scheme=scheme)
    page.goto(OVERVIEW)
    assert_sound(page)
    page.click("text=Start")
    page.fill("[name=name]", "Clinic account")
    page.fill("[name=api_key]", API_KEY)
    page.fill("[name=api_base]", model.openai_base)
    page.click("text=Fetch models")
    page.click("text=Use as default >> nth=0")
    model.script("ok")
    page.click("text=Test connection")
    page.wait_for_selector("text=The connection works.")
    assert_sound(page)
    page.click("text=Save and go on")
    page.fill("[name=content]", "Remind {{ patient }} of {{ date }}.")
    assert page.locator("[data-za-placeholders] .za-tag").all_inner_texts() == ["{{patient}}", "{{date}}"]
    page.fill("[name=name]", "Reminder")
    assert_sound(page)
    page.click("text=Save and go on")
    page.fill("[name=name]", "reminder-writer")
    assert_sound(page)
    page.click("text=Save and go on")
    page.fill("[name=var-patient]", "Ada")
    page.fill("[name=var-date]", "3 May")
    model.script("Dear Ada, see you on 3 May.")
    page.click("button[name=run]")
    page.wait_for_selector(".za-run-figures")
    assert "Dear Ada" in page.inner_text(".za-answer")
    assert_sound(page)
    run = Invocation.objects.get()
    assert (run.status, run.rendered_user_prompt) == ("success", "Remind Ada of 3 May.")
    page.click("text=Finish")
    assert page.locator("text=Set up the first agent").count() == 0
    assert API_KEY not in page.content()


def test_each_step_saves_a_row_that_is_in_the_history_and_leads_to_the_next(model, staff):
    assert staff.get(admin_pages.url("setup")).headers["Location"] == url("provider")
    assert staff.get(url("agent")).headers["Location"] == url("provider")
    model.script("ok")
    assert staff.post(url("provider"), account(model)).headers["Location"] == url("prompt")
    provider = Provider.objects.get()
    assert (provider.validated_at is None, provider.credentials["api_key"]) == (False, API_KEY)
    system = {"type": "system", "name": "Desk", "content": "You help at the desk of {{ clinic }}."}
    assert staff.post(url("prompt"), system).headers["Location"] == url("agent")
    assert staff.get(admin_pages.url("setup")).headers["Location"] == url("agent")
    assert staff.post(url("agent"), {"name": "desk"}).headers["Location"] == url("run")
    agent = AgentConfig.objects.get()
    assert (agent.provider, agent.system_prompt, agent.user_prompt) == (provider, Prompt.objects.get(), None)
    assert {entry.object_repr for entry in LogEntry.objects.all()} == {"Clinic account", "Desk", "desk"}
    assert "sysvar-clinic" in html(staff.get(url("run")))
    assert "3 of 4 steps done" in html(staff.get(OVERVIEW))
    assert staff.get(url("nothing")).status_code == 404


def test_a_step_that_was_done_can_be_changed(model, staff):
    provider, prompt = make_provider(model), make_prompt("One {{ a }}.", name="p")
    shown = html(staff.get(url("provider")))
    assert "A key is saved" in shown
    assert API_KEY not in shown
    model.script("ok")
    staff.post(url("provider"), account(model, api_key="", name="Renamed"))
    provider.refresh_from_db()
    assert (provider.name, provider.credentials["api_key"]) == ("Renamed", API_KEY)
    base = prompt.versions.get().pk
    staff.post(url("prompt"), {"type": "user", "name": "p", "content": "Two {{ b }}.", "base_version": base})
    prompt.refresh_from_db()
    assert (prompt.active_version.content, prompt.versions.count()) == ("Two {{ b }}.", 2)


def test_bad_input_is_shown_at_its_field_and_a_failing_connection_in_the_vendors_words(model, staff):
    shown = html(staff.post(url("provider"), account(model, default_model="", api_key="")))
    assert "This field is required." in shown
    assert "API key is required" in shown
    assert not Provider.objects.exists()
    model.script(Reply("no credit left", status=402))
    assert staff.post(url("provider"), account(model)).headers["Location"] == url("provider")
    shown = html(staff.get(url("provider")))
    assert "no credit left" in shown
    assert staff.get(url("prompt")).headers["Location"] == url("provider")
    Provider.objects.update(validation_error="")
    assert "This field is required." in html(staff.post(url("prompt"), {"type": "user", "name": "x"}))
    make_prompt("Hi.", "system")
    assert "letters, digits" in html(staff.post(url("agent"), {"name": "two words"}))


def test_a_step_names_the_permission_that_is_missing(model, client_of):
    nurse = client_of("view_agentconfig")
    assert "Can add provider" in html(nurse.get(url("provider")))
    assert nurse.post(url("provider"), account(model)).status_code == 200
    assert not Provider.objects.exists()
    make_agent(model, system_prompt=make_prompt("Hi.", "system"))
    assert "Can run an agent" in html(nurse.get(url("run")))
    assert client_of().get(url("provider")).status_code == 403


def test_the_steps_take_a_fixed_number_of_queries(model, staff):
    make_agent(model, system_prompt=make_prompt("Hi.", "system"))
    for step, most in (("provider", 10), ("prompt", 11), ("agent", 10)):
        staff.get(url(step))
        assert count_queries(staff, url(step)) <= most, step
