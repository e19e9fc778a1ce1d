"""The pages that replay runs, over HTTP and in Chromium."""

import pytest

from tests import panel_data
from tests.admin_pages import count_queries, url
from tests.build import QUARTER, make_agent, make_agent_with, make_priced_agent, make_prompt
from tests.panel_browser import SCHEMES, WIDTHS, assert_sound, open_page
from zango_ai import get_agent, tool
from zango_ai.ledger import removal
from zango_ai.models import AgentConfig, Invocation, Provider
from zango_ai.testing import Call, ModelServer, Reply

CODENAMES = ("view_invocation", "run_agent", "view_payload", "view_agentconfig")


@tool(description="Find a patient.")
def find_for_replay_page(name: str) -> str:
    return f"{name}: born 1957"


@pytest.fixture
def staff(client_of):
    return client_of(*CODENAMES)


def test_a_run_is_replayed_with_another_version_and_compared(model, staff):
    prompt = make_prompt("Be kind.", "system")
    make_agent_with(model, find_for_replay_page, system_prompt=prompt)
    version = prompt.add_version("Be <brief>.")
    ada, bob = (Reply(calls=[Call("find_for_replay_page", {"name": name})]) for name in ("Ada", "Bob"))
    model.script(ada, "Born in 1957 & well.", ada, bob, "Born in 1958 & well.")
    pk = get_agent("helper").run("When?").invocation_id
    assert url("invocation_replay", pk) in staff.get(url("invocation_change", pk)).content.decode()
    response = staff.post(url("invocation_replay", pk), {"system_version": version.pk, "model": "gpt-4.1-nano"})
    row = Invocation.objects.get(replay_of=pk)
    assert response.url == url("invocation_comparison", row.pk)
    assert (row.replayed_by, row.triggered_by, row.status) == (staff.session["_auth_user_id"], "user", "success")
    assert model.requests[2].body["messages"][0]["content"] == "Be <brief>."
    html = staff.get(response.url).content.decode()
    for text in ("<del>1957</del>", "<ins>1958</ins>", "gpt-4.1-nano", "system-prompt v2", "has diverged", "Bob"):
        assert text in html
    assert f"/{row.pk}/comparison/" in staff.get(url("invocation_replay", pk)).content.decode()


def test_a_failed_and_a_refused_replay_say_why(model, staff):
    make_priced_agent(model)
    model.script(QUARTER)
    pk = get_agent("helper").run("Hello").invocation_id
    Provider.objects.update(monthly_budget_usd=0)
    html = staff.post(url("invocation_replay", pk), {"model": ""}, follow=True).content.decode()
    assert "The replay has failed." in html
    assert "budget" in html
    Invocation.objects.filter(pk=pk).update(status="running")
    html = staff.post(url("invocation_replay", pk), {"model": ""}).content.decode()
    assert "Its status is running" in html
    assert Invocation.objects.count() == 2
    html = staff.post(url("invocation_replay", pk), {"provider": "999"}).content.decode()
    assert "Select a valid choice" in html


def test_pages_need_permissions_and_a_fixed_number_of_queries(model, client_of, staff):
    config = make_agent(model)
    pk = get_agent("helper").run("Hello").invocation_id
    pages = [url("invocation_replay", pk)]
    first = staff.post(pages[0], {"model": ""})
    counted = [count_queries(staff, page) for page in (*pages, first.url)]
    for number in range(3):
        get_agent("helper").run(f"Hello {number}")
        staff.post(pages[0], {"model": ""})
    assert [count_queries(staff, page) for page in (*pages, first.url)] == counted
    for missing in ("run_agent", "view_payload", "view_invocation"):
        other = client_of(*(name for name in CODENAMES if name != missing))
        assert [other.get(page).status_code for page in pages] == [403]
        assert other.get(first.url).status_code == (200 if missing == "run_agent" else 403)
        assert "replay/" not in other.get(url("agentconfig_change", config.pk)).content.decode()


def test_the_pages_are_sound_at_both_widths(browser, site, settings):
    with ModelServer(answer=lambda seen: f"Answer {len(model.requests)}: HbA1c 7.1 %.") as model:
        settings.ZANGO_AI = {"ALLOWED_API_BASES": [model.url]}
        panel_data.fill(runs=30, api_base=model.openai_base)
        agent = AgentConfig.objects.get(name="front-desk-chat")
        for number in range(2):
            run = get_agent(agent.name).run(f"Question {number}?", system_variables={"clinic": "North"})
        page = open_page(browser, site, width=WIDTHS[1], scheme=SCHEMES[1])
        page.goto(f"/admin/zango_ai/invocation/{run.invocation_id}/replay/")
        page.select_option("[name=system_version]", "draft")
        page.fill("[name=system_draft]", "Be brief in {{ clinic }}.")
        assert_sound(page)
        page.get_by_role("button", name="Replay").click()
        page.wait_for_url("**/comparison/")
        assert_sound(page)
        page.set_viewport_size({"width": WIDTHS[0], "height": 900})
        assert_sound(page)


def test_a_replay_has_a_page_after_its_original_was_deleted(model, staff):
    make_agent(model)
    pk = get_agent("helper").run("Hello").invocation_id
    staff.post(url("invocation_replay", pk), {"model": ""})
    replay = Invocation.objects.get(replay_of=pk)
    removal.delete_runs("north", [pk])
    page = staff.get(url("invocation_change", replay.pk))
    assert page.status_code == 200
    html = page.content.decode()
    assert f"replay of invocation {pk}" in html
    assert url("invocation_change", pk) not in html
    assert url("invocation_comparison", replay.pk) not in html
    assert staff.get(url("invocation_comparison", replay.pk)).status_code == 404
    assert url("invocation_comparison", replay.pk) not in staff.get(url("invocation_changelist")).content.decode()
    assert staff.get(url("invocation_replay", replay.pk)).status_code == 200


def test_answers_that_were_removed_are_not_called_the_same(model, staff):
    make_agent(model)
    model.script("Good day", "Good day")
    pk = get_agent("helper").run("Hello").invocation_id
    page = staff.post(url("invocation_replay", pk), {"model": ""}).url
    assert ">Same<" in staff.get(page).content.decode()
    replay = Invocation.objects.get(replay_of=pk)
    for removed in (pk, replay.pk):
        removal.remove_texts("north", [removed])
        html = staff.get(page).content.decode()
        assert "Text removed" in html
        assert ">Same<" not in html
        assert "Good day" not in html
