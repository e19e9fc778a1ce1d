"""The admin of a tenant, as its staff see it over HTTP."""

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from tests.admin_pages import fields, url
from tests.build import (
    API_KEY,
    QUARTER,
    make_agent,
    make_agent_with,
    make_priced_agent,
    make_prompt,
    make_provider,
)
from zango_ai import LLMMessage, get_agent, get_provider, tool
from zango_ai.exceptions import LLMAPIError
from zango_ai.models import (
    AgentConfig,
    Fallback,
    Invocation,
    MemorySession,
    Prompt,
    Provider,
    Spend,
    Tool,
)
from zango_ai.testing import Call, Reply

MODELS = ["provider", "prompt", "agentconfig", "invocation", "spend", "memorysession", "tool"]


def test_every_page_of_a_tenant_opens(model, staff):
    make_agent_with(model, greet, system_prompt=make_prompt("Be brief.", "system"), short_term_memory=True)
    model.script(Reply(calls=[Call("greet", {"name": "<b>Ada</b>"})]), "done")
    get_agent("helper").run("hi")
    assert staff.get(reverse("admin:index")).status_code == 200
    for name in MODELS:
        page = staff.get(url(f"{name}_changelist"))
        assert page.status_code == 200, name
        row = page.context["cl"].result_list[0]
        assert staff.get(url(f"{name}_change", row.pk)).status_code == 200, name


def test_a_call_without_an_agent_is_shown(model, staff):
    make_provider(model)
    response = get_provider("main").complete([LLMMessage("user", "<b>Hello</b>")])
    for address in (url("invocation_changelist"), url("invocation_change", response.invocation_id)):
        page = staff.get(address)
        html = page.content.decode()
        assert (page.status_code, "main" in html, "gpt-4o-mini" in html) == (200, True, True)
    assert "&lt;b&gt;Hello&lt;/b&gt;" in page.content.decode()


@tool(description="Greet.")
def greet(name: str) -> str:
    return f"Hello {name}"


def test_tools_are_shown_with_their_figures_and_nobody_changes_them(model, staff):
    agent = make_agent_with(model, greet)
    model.script(
        Reply(calls=[Call("greet", {"name": "<b>Ada</b>"}), Call("greet", {})]),
        "done",
    )
    get_agent("helper").run("hi")
    run = staff.get(url("invocation_change", Invocation.objects.get().pk)).content.decode()
    assert "Hello &lt;b&gt;Ada&lt;/b&gt;" in run
    assert "Field required" in run
    page = staff.get(url("tool_changelist"))
    row = next(row for row in page.context["cl"].result_list if row.name == "greet")
    assert (row.calls, row.errors, row.timeouts) == (2, 1, 0)
    assert row.average_ms is not None
    assert staff.get(url("tool_add")).status_code == 403
    form = staff.get(url("agentconfig_change", agent.pk))
    assert 'name="tools"' in form.content.decode()


def test_on_the_public_schema_there_is_nothing_to_see(staff, rf):
    from django.contrib import admin

    from tests.schemas import schema_context

    request = rf.get("/")
    request.user = User.objects.get()
    with schema_context("public"):
        for model in (Provider, Prompt, AgentConfig, Invocation, Spend, MemorySession, Tool):
            page = admin.site.get_model_admin(model)
            assert not page.has_module_permission(request)
            assert page.get_model_perms(request) == dict.fromkeys(["add", "change", "delete", "view"], False)


def test_a_provider_can_be_made_and_its_key_never_be_read(model, staff):
    page = staff.post(
        url("provider_add"),
        {
            **fields(staff.get(url("provider_add"))),
            "name": "new",
            "kind": "openai",
            "default_model": "gpt-4o-mini",
            "is_enabled": "on",
            "api_key": API_KEY,
            "api_base": model.openai_base,
        },
    )
    assert page.status_code == 302
    provider = Provider.objects.get()
    assert provider.credentials == {"api_key": API_KEY, "api_base": model.openai_base}
    for shown in (url("provider_change", provider.pk), url("provider_changelist")):
        html = staff.get(shown).content.decode()
        assert API_KEY not in html
        assert API_KEY[:6] not in html
    assert "A key is saved" in staff.get(url("provider_change", provider.pk)).content.decode()
    assert API_KEY not in "".join(LogEntry.objects.values_list("change_message", flat=True))


def test_saving_a_provider_with_an_empty_key_keeps_the_key(model, staff):
    provider = make_provider(model)
    page = staff.get(url("provider_change", provider.pk))
    answer = staff.post(url("provider_change", provider.pk), {**fields(page), "description": "new words"})
    assert answer.status_code == 302
    provider.refresh_from_db()
    assert provider.description == "new words"
    assert provider.credentials == {"api_key": API_KEY, "api_base": model.openai_base}


@pytest.mark.parametrize(
    "change", [{"api_base": "https://evil.example/v1"}, {"api_base": ""}, {"kind": "openai_compatible"}]
)
def test_a_saved_key_does_not_go_to_another_place(model, staff, change):
    provider = make_provider(model)
    page = staff.get(url("provider_change", provider.pk))
    html = staff.post(url("provider_change", provider.pk), {**fields(page), **change}).content.decode()
    assert "Enter it again" in html
    provider.refresh_from_db()
    assert provider.credentials == {"api_key": API_KEY, "api_base": model.openai_base}
    typed = {**fields(page), **change, "api_key": "sk-another"}
    assert staff.post(url("provider_change", provider.pk), typed).status_code == 302
    provider.refresh_from_db()
    assert provider.credentials["api_key"] == "sk-another"


def test_a_rejected_provider_form_keeps_what_was_typed_except_the_key(model, staff):
    typed = {
        **fields(staff.get(url("provider_add"))),
        "name": "new",
        "kind": "azure",
        "default_model": "my-deployment",
        "api_key": API_KEY,
        "api_base": "https://my.openai.azure.com",
        "api_version": "2024-10-21",
    }
    wrong_in_form = {**typed, "name": ""}
    for data in (wrong_in_form, {**typed, "monthly_budget_usd": "dear"}):
        page = staff.post(url("provider_add"), data)
        html = page.content.decode()
        assert page.status_code == 200
        assert "Enter it again: the form was not saved" in html
        assert API_KEY not in html
        shown = fields(page)
        for name in ("kind", "default_model", "api_base", "api_version"):
            assert shown[name] == typed[name]
    html = staff.post(url("provider_add"), {**wrong_in_form, "api_key": ""}).content.decode()
    assert "Enter it again: the form was not saved" not in html


def test_saving_an_agent_or_a_provider_warns_of_a_model_that_is_not_allowed(model, staff):
    provider = make_provider(model)
    row = provider.models.create(model_id=provider.default_model)
    agent = make_agent(model, provider=provider, model="another")
    warning = "Provider main does not allow the model another"
    for page in (url("agentconfig_change", agent.pk), url("provider_change", provider.pk)):
        assert warning in staff.post(page, fields(staff.get(page)), follow=True).content.decode()
    row.model_id = "another"
    row.save()
    page = url("agentconfig_change", agent.pk)
    assert warning not in staff.post(page, fields(staff.get(page)), follow=True).content.decode()


def test_a_model_that_the_vendor_does_not_list_is_shown_so(model, staff):
    provider = make_provider(model, default_model="alias")
    data = {"action": "fetch_models", "_selected_action": provider.pk}
    html = staff.post(url("provider_changelist"), data, follow=True).content.decode()
    assert "Not in the vendor&#x27;s list, but still allowed: alias." in html
    html = staff.get(url("provider_change", provider.pk)).content.decode()
    assert html.count("not listed") == 1


def test_connections_are_tested_and_models_fetched_from_the_list(model, staff):
    provider = make_provider(model)
    for action, said in (
        ("validate_connections", "Provider main: the connection works."),
        ("fetch_models", "Provider main: new models added: 2."),
    ):
        data = {"action": action, "_selected_action": provider.pk}
        assert said in staff.post(url("provider_changelist"), data, follow=True).content.decode()
    model.script(Reply("no", status=401))
    data = {"action": "validate_connections", "_selected_action": provider.pk}
    html = staff.post(url("provider_changelist"), data, follow=True).content.decode()
    assert html.count("rejected the API key") == 2


def test_a_prompt_can_be_deleted_with_its_versions(staff):
    prompt = make_prompt("one")
    assert staff.post(url("prompt_delete", prompt.pk), {"post": "yes"}).status_code == 302
    assert not Prompt.objects.exists()


def test_an_agent_with_conversations_can_be_deleted(model, staff):
    agent = make_agent(model, short_term_memory=True)
    get_agent("helper").run("hi", session_id="s")
    page = staff.get(url("agentconfig_delete", agent.pk)).content.decode()
    assert "Are you sure" in page
    assert staff.post(url("agentconfig_delete", agent.pk), {"post": "yes"}).status_code == 302
    assert (AgentConfig.objects.count(), MemorySession.objects.count()) == (0, 0)
    assert Invocation.objects.get().agent_name == "helper"


def test_deleting_an_agent_needs_the_permission_for_agents_alone(model, north, staff):
    agent = make_agent(model, short_term_memory=True)
    get_agent("helper").run("hi", session_id="s")
    user = User.objects.create_user("clerk", password="clerk", is_staff=True)
    client = Client(headers={"host": "north.localhost"})
    client.login(username="clerk", password="clerk")
    assert client.post(url("agentconfig_delete", agent.pk), {"post": "yes"}).status_code == 403
    user.user_permissions.set(Permission.objects.filter(codename="delete_agentconfig"))
    assert client.post(url("agentconfig_delete", agent.pk), {"post": "yes"}).status_code == 302


def test_what_an_agent_uses_cannot_be_deleted_and_the_page_names_the_agent(model, staff):
    prompt = make_prompt("Be brief.", "system")
    agent = make_agent(model, system_prompt=prompt)
    other = make_provider(model, name="other")
    Fallback.objects.create(agent=agent, provider=other, model="gpt-4o")
    for name, row in (("provider", agent.provider), ("prompt", prompt), ("provider", other)):
        page = staff.post(url(f"{name}_delete", row.pk), {"post": "yes"})
        html = page.content.decode()
        assert (page.status_code, "is still used" in html, "helper" in html) == (200, True, True), html
    assert (Provider.objects.count(), Prompt.objects.count()) == (2, 1)


def test_a_form_that_was_opened_before_somebody_elses_change_does_not_undo_it(staff):
    prompt = make_prompt("one")
    page = fields(staff.get(url("prompt_change", prompt.pk)))
    prompt.add_version("two").activate()
    staff.post(url("prompt_change", prompt.pk), {**page, "description": "new words"})
    prompt.refresh_from_db()
    assert (prompt.description, prompt.active_version.content) == ("new words", "two")


def test_a_provider_without_a_key_is_refused_with_the_reason(staff):
    page = staff.post(
        url("provider_add"),
        {**fields(staff.get(url("provider_add"))), "name": "new", "kind": "openai", "api_key": ""},
    )
    assert "API key is required" in page.content.decode()
    assert not Provider.objects.exists()


def test_a_provider_that_no_key_opens_can_still_be_opened_and_mended(model, staff, settings):
    provider = make_provider(model)
    settings.SECRET_KEY = "another"
    page = staff.get(url("provider_changelist"))
    if page.status_code == 302:  # the session went with the key
        staff.login(username="root", password="root")
    page = staff.get(url("provider_change", provider.pk))
    assert "A key is saved" not in page.content.decode()
    answer = staff.post(url("provider_change", provider.pk), {**fields(page), "api_key": "sk-new"})
    assert answer.status_code == 302
    provider.refresh_from_db()
    assert provider.credentials["api_key"] == "sk-new"


def test_an_agent_is_checked_before_it_is_saved(model, staff):
    provider = make_provider(model, default_model="")
    system = make_prompt("s", "system")
    page = staff.get(url("agentconfig_add"))
    data = {
        **fields(page),
        "name": "two words",
        "provider": provider.pk,
        "user_prompt": system.pk,
        "output_json_schema": '{"type": "no such type"}',
    }
    html = staff.post(url("agentconfig_add"), data).content.decode()
    for problem in ("letters, digits", "default model", "Select a valid choice", "$.type"):
        assert problem in html, problem


@pytest.mark.parametrize(("content", "shown"), [("Hi {{ shop", "{{ shop"), ("{% if a %}Hi", "{% if a %}")])
def test_a_prompt_with_half_a_placeholder_is_saved_with_a_warning(staff, content, shown):
    page = staff.get(url("prompt_add"))
    sent = {**fields(page), "name": "greet", "type": "user", "content": content}
    html = staff.post(url("prompt_add"), sent, follow=True).content.decode()
    assert f"“{shown}” looks like a placeholder" in html
    assert Prompt.objects.get().active_version.content == content


def test_a_json_schema_beside_text_output_is_saved_with_a_warning(model, staff):
    agent = make_agent(model)
    page = staff.get(url("agentconfig_change", agent.pk))
    sent = {**fields(page), "output_json_schema": '{"type": "object"}'}
    html = staff.post(url("agentconfig_change", agent.pk), sent, follow=True).content.decode()
    assert "The JSON schema has no effect" in html
    agent.refresh_from_db()
    assert agent.output_json_schema == {"type": "object"}
    sent["output_schema"] = "json"
    html = staff.post(url("agentconfig_change", agent.pk), sent, follow=True).content.decode()
    assert "no effect" not in html


@pytest.mark.parametrize("text", ["[" * 100_000, '{"minimum": ' + "9" * 5_000 + "}"])
def test_json_that_python_cannot_read_is_refused_as_a_schema(model, staff, text):
    agent = make_agent(model)
    page = staff.get(url("agentconfig_change", agent.pk))
    refused = staff.post(url("agentconfig_change", agent.pk), fields(page) | {"output_json_schema": text})
    assert refused.context["adminform"].form.errors.keys() == {"output_json_schema"}
    assert text in refused.content.decode().replace("&quot;", '"')


def test_an_absurd_timeout_is_refused_in_the_form(model, staff):
    agent = make_agent(model)
    page = staff.get(url("agentconfig_change", agent.pk))
    refused = staff.post(url("agentconfig_change", agent.pk), fields(page) | {"timeout_seconds": "2000000000"})
    assert refused.context["adminform"].form.errors == {
        "timeout_seconds": ["2000000000 is not allowed. Use a number from 1 to 86400."]
    }


def test_the_log_shows_a_failure_and_lets_nobody_change_it(model, staff):
    make_agent(model)
    model.script(Reply("<b>the vendor's words</b>", status=500))
    with pytest.raises(LLMAPIError) as caught:
        get_agent("helper").run("<script>alert(1)</script>")
    html = staff.get(url("invocation_change", caught.value.invocation_id)).content.decode()
    assert "&lt;script&gt;alert(1)" in html
    assert "<script>alert(1)" not in html
    assert "the vendor&#x27;s words" in html
    for name in ("invocation_add",):
        assert staff.get(url(name)).status_code == 403
    assert staff.post(url("invocation_change", caught.value.invocation_id), {}).status_code == 403
    assert staff.post(url("invocation_delete", caught.value.invocation_id), {"post": "yes"}).status_code == 403


@pytest.mark.parametrize("name", MODELS)
def test_a_list_takes_as_many_queries_for_many_rows_as_for_one(model, staff, name, django_assert_max_num_queries):
    def fill(number):
        prompt = make_prompt("x", name=f"p{number}")
        provider = make_provider(model, name=f"provider{number}")
        make_agent(model, f"a{number}", provider=provider, user_prompt=prompt)
        get_agent(f"a{number}").run("hi")

    fill(0)
    staff.get(url(f"{name}_changelist"))
    with django_assert_max_num_queries(1000) as one:
        staff.get(url(f"{name}_changelist"))
    for number in range(1, 6):
        fill(number)
    with django_assert_max_num_queries(1000) as many:
        staff.get(url(f"{name}_changelist"))
    assert len(many) <= len(one)


def cell(page, name):
    """The text of a column in the list's first row."""
    from django.contrib.admin.templatetags.admin_list import items_for_result
    from django.utils.html import strip_tags

    changes = page.context["cl"]
    cells = list(items_for_result(changes, changes.result_list[0], None))
    return " ".join(strip_tags(cells[changes.list_display.index(name)]).split())


@pytest.mark.parametrize("name", ["provider", "agentconfig"])
def test_spending_is_shown_beside_its_budget(model, staff, name):
    agent = make_priced_agent(model, monthly_budget_usd="0.30")
    AgentConfig.objects.update(monthly_budget_usd="0.25")
    assert cell(staff.get(url(f"{name}_changelist")), "this_month").startswith("$0.00 of $0.")
    model.script(QUARTER)
    get_agent("helper").run("hi")
    words = {"provider": "$0.25 of $0.30", "agentconfig": "$0.25 of $0.25 used up"}[name]
    assert cell(staff.get(url(f"{name}_changelist")), "this_month") == words
    key = agent.pk if name == "agentconfig" else agent.provider_id
    assert f"{words[:14]} spent" in staff.get(url(f"{name}_change", key)).content.decode()
    Spend.objects.update(month_start="2020-01-01")  # of a month that is over
    assert cell(staff.get(url(f"{name}_changelist")), "this_month").startswith("$0.00 of $0.")


def test_limits_can_be_set_and_odd_ones_are_refused(model, staff):
    provider = make_provider(model)
    page = staff.get(url("provider_change", provider.pk))
    sent = fields(page) | {"monthly_budget_usd": "12.50", "rate_limit_rpm": "60", "budget_reset_day": "15"}
    assert staff.post(url("provider_change", provider.pk), sent).status_code == 302
    provider.refresh_from_db()
    assert (provider.monthly_budget_usd, provider.rate_limit_rpm, provider.budget_reset_day) == (12.5, 60, 15)
    for name, value in {"monthly_budget_usd": "-1", "rate_limit_rpm": "0", "budget_reset_day": "32"}.items():
        refused = staff.post(url("provider_change", provider.pk), sent | {name: value})
        assert refused.context["adminform"].form.errors.keys() == {name}


def test_a_round_of_unknown_cost_says_what_it_counts_as(model, staff):
    make_priced_agent(model, monthly_budget_usd="5")
    model.script(Reply(raw=b"<html>"))
    with pytest.raises(LLMAPIError) as caught:
        get_agent("helper").run("hi")
    page = staff.get(url("invocation_change", caught.value.invocation_id)).content.decode()
    assert "unknown (charged as $0.25)" in page


@pytest.mark.parametrize("name", MODELS)
def test_a_list_asks_no_more_the_longer_it_is(model, staff, name):
    counts = []
    for number in range(6):
        provider = make_provider(model, name=f"provider-{number}")
        prompt = make_prompt("x", name=f"p-{number}")
        make_agent(model, f"agent-{number}", provider=provider, user_prompt=prompt, short_term_memory=True)
        get_agent(f"agent-{number}").run("hi")
        with CaptureQueriesContext(connection) as asked:
            staff.get(url(f"{name}_changelist"))
        counts.append(len(asked))
    assert len(set(counts[1:])) == 1


def test_a_conversation_can_be_read_and_cleared(model, staff):
    make_agent(model, short_term_memory=True)
    model.script("Hello <b>Ada</b>.")
    get_agent("helper").run("I am Ada.", session_id="s")
    session = MemorySession.objects.get()
    page = staff.get(url("memorysession_change", session.pk)).content.decode()
    assert "I am Ada." in page
    assert "Hello &lt;b&gt;Ada&lt;/b&gt;." in page
    action = {"action": "clear", "_selected_action": [session.pk]}
    assert staff.post(url("memorysession_changelist"), action).status_code == 302
    session.refresh_from_db()
    assert (session.is_active, session.messages.count()) == (False, 0)


def test_clearing_needs_the_permission_to_delete(model, north, staff):
    make_agent(model, short_term_memory=True)
    get_agent("helper").run("hi")
    reader = User.objects.create_user("reader", password="reader", is_staff=True)
    reader.user_permissions.add(Permission.objects.get(codename="view_memorysession"))
    client = Client(headers={"host": "north.localhost"})
    assert client.login(username="reader", password="reader")
    session = MemorySession.objects.get()
    client.post(url("memorysession_changelist"), {"action": "clear", "_selected_action": [session.pk]})
    assert session.messages.count() == 2
