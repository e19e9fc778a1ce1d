"""The playground over HTTP: what runs, what is logged, and what the page says."""

import json
import re

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from django.core.files.uploadedfile import SimpleUploadedFile

from tests import admin_pages
from tests.admin_pages import count_queries
from tests.build import QUARTER, make_agent, make_agent_with, make_priced_agent, make_prompt, make_provider
from tests.samples import PNG
from zango_ai import tool
from zango_ai.models import AgentConfig, Invocation, InvocationFile, MemorySession
from zango_ai.testing import Call, Reply

EVENTS = {"accept": "text/event-stream"}


@tool(description="Write a note.", requires_approval=True)
def write_note(text: str) -> str:
    return f"noted {text}"


@tool(
    description="Write into a book.", requires_approval=True, describe=lambda text: f"Writes {text} into the book."
)
def describe_note(text: str) -> str:
    return f"noted {text}"


@pytest.fixture
def staff(client_of):
    return client_of(
        "view_agentconfig", "run_agent", "view_invocation", "view_provider", "decide_approval", "view_payload"
    )


def url(name="", pk=None):
    pk = pk or AgentConfig.objects.get().pk
    return admin_pages.url(f"agentconfig_playground{name}", pk)


def sent(config, **fields):
    """The fields that the page sends for one column."""
    return {"columns": "1", "column": "1", "run": "1", "c1-provider": config.provider_id, **fields}


def events(response):
    assert response.status_code == 200, response.content
    body = b"".join(response.streaming_content).decode()
    return [json.loads(line[6:]) for line in body.splitlines() if line.startswith("data: ")]


def test_the_answer_streams_in_with_its_figures_and_is_logged_as_the_users(model, staff):
    config = make_agent(
        model,
        user_prompt=make_prompt("Greet {{ name }}."),
        system_prompt=make_prompt("Be {{ tone }}.", "system"),
    )
    model.script(Reply("Hello Ada.", input_tokens=12, output_tokens=3))
    fields = sent(config, **{"var-name": "Ada", "sysvar-tone": "brief"})
    found = events(staff.post(url(), fields, headers=EVENTS))
    assert found[0]["type"] == "started"
    assert "".join(each["text"] for each in found if each["type"] == "text") == "Hello Ada."
    final = found[-1]
    assert (final["type"], final["text"]) == ("final", "Hello Ada.")
    row = Invocation.objects.get()
    assert str(row.run_id) == found[0]["run_id"]
    assert (row.user_ref, row.triggered_by, row.status) == (str(User.objects.get().pk), "user", "success")
    assert (row.variables, row.system_variables) == ({"name": "Ada"}, {"tone": "brief"})
    for text in ("12 / 3", "gpt-4o-mini", admin_pages.url("invocation_change", row.pk)):
        assert text in final["html"]


def test_without_javascript_the_page_has_the_results_of_all_columns(model, staff):
    config = make_agent(model, user_prompt=make_prompt("Greet {{ name }}.", name="greeting"))
    config.user_prompt.add_version("Greet {{ name }} in {{ language }}.")
    other = make_provider(model, name="second", default_model="gpt-4.1-mini")
    second = config.user_prompt.versions.get(version_number=2)
    fields = sent(
        config,
        columns="3",
        **{"var-name": "Ada", "var-language": "Latin", "c2-provider": config.provider_id},
        **{"c2-user_version": second.pk, "c3-provider": other.pk, "c3-user_version": "draft"},
        **{"c3-user_draft": "Just say hi\r\nto {{ name }}."},
    )
    model.script("Hello.", "Ave.", "hi")
    shown = staff.post(url(), fields).content.decode()
    assert shown.index("Hello.") < shown.index("Ave.") < shown.index(">hi<")
    rows = Invocation.objects.order_by("pk").values_list(
        "user_prompt_name", "user_prompt_version", "rendered_user_prompt", "provider_name", "variables"
    )
    assert list(rows) == [
        ("greeting", 1, "Greet Ada.", "main", {"name": "Ada"}),
        ("greeting", 2, "Greet Ada in Latin.", "main", {"name": "Ada", "language": "Latin"}),
        ("greeting", None, "Just say hi\nto Ada.", "second", {"name": "Ada"}),
    ]


def test_the_fields_follow_the_placeholders_of_the_chosen_texts(model, staff):
    config = make_agent(model, user_prompt=make_prompt("Greet {{ name }}."))
    page = staff.get(url()).content.decode()
    assert 'name="var-name"' in page
    fields = sent(
        config, **{"c1-user_version": "draft", "c1-user_draft": "In {{ language }}", "var-language": "<Latin>"}
    )
    found = staff.post(url("_fields"), fields).content.decode()
    assert 'name="var-language"' in found
    assert "&lt;Latin&gt;" in found
    assert 'name="var-name"' not in found


def test_a_column_is_added_without_javascript_and_keeps_what_was_typed(model, staff):
    config = make_agent(model)
    fields = sent(config, message="What now?", columns="2")
    del fields["run"]
    page = staff.post(url(), fields).content.decode()
    assert "What now?" in page
    assert re.findall(r'<section[^>]*data-za-column="(.)"[^>]*hidden>', page) == ["3"]
    assert not Invocation.objects.exists()


def test_what_is_missing_is_said_at_its_field_and_nothing_runs(model, staff):
    config = make_agent(model)
    answer = staff.post(url(), sent(config), headers=EVENTS)
    assert answer.status_code == 400
    assert answer.json()["errors"] == {"id_message": ["This agent has no user prompt. Write a message."]}
    assert "Write a message." in staff.post(url(), sent(config)).content.decode()
    too_many = [SimpleUploadedFile(f"{number}.png", PNG) for number in range(60)]
    answer = staff.post(url(), sent(config, message="x", attachments=too_many), headers=EVENTS)
    assert "Choose at most" in answer.json()["errors"]["id_attachments"][0]
    assert (
        staff.post(url(), sent(config, **{"c1-provider": "99", "message": "x"}), headers=EVENTS).status_code == 400
    )
    assert not Invocation.objects.exists()


def test_files_go_along(model, staff):
    config = make_agent(model)
    upload = SimpleUploadedFile("scan.png", PNG, "image/png")
    found = events(staff.post(url(), sent(config, message="Read it.", attachments=[upload]), headers=EVENTS))
    assert found[-1]["type"] == "final", found
    assert InvocationFile.objects.get().filename == "scan.png"


def test_a_session_goes_on_and_belongs_to_its_user(model, staff, client_of):
    config = make_agent(model, short_term_memory=True)
    (*_, final) = events(staff.post(url(), sent(config, message="I am Ada."), headers=EVENTS))
    session = MemorySession.objects.get()
    assert final["session_id"] == session.session_id
    assert f'value="{session.session_id}"' in staff.get(url()).content.decode()
    events(staff.post(url(), sent(config, message="Who?", **{"c1-session_id": session.session_id}), headers=EVENTS))
    assert model.requests[-1].body["messages"][0]["content"] == "I am Ada."
    other = client_of("view_agentconfig", "run_agent")
    assert session.session_id not in other.get(url()).content.decode()
    fields = sent(config, message="Who?", **{"c1-session_id": session.session_id})
    (refused,) = [each for each in events(other.post(url(), fields, headers=EVENTS)) if each["type"] == "error"]
    assert "This session belongs to another user." in refused["html"]
    both = {"columns": "2", "c2-provider": config.provider_id, "c2-session_id": session.session_id}
    assert "Another column uses this session" in staff.post(url(), {**fields, **both}).content.decode()


def problem_of(answer):
    """The HTML of the problem, whether it came before the stream or in it."""
    if answer.status_code == 422:
        return answer.json()["html"]
    return events(answer)[-1]["html"]


@pytest.mark.parametrize(
    ("fault", "title", "link"),
    [
        ("budget", "The budget does not allow this run.", "Open the provider"),
        ("agent's budget", "The budget does not allow this run.", "Open the agent"),
        ("off", "The provider is switched off.", "Open the provider"),
        ("model", "The provider does not allow this model.", "Open the provider"),
        ("vendor", "The provider answered with an error.", "Open the invocation"),
        ("agent", "does not exist", ""),
    ],
)
def test_an_error_says_in_plain_words_what_happened_and_where_to_put_it_right(model, staff, fault, title, link):
    config = make_priced_agent(model, monthly_budget_usd="0.1" if fault == "budget" else None)
    if fault == "agent's budget":
        AgentConfig.objects.update(monthly_budget_usd="0.1")
    if fault == "off":
        config.provider.is_enabled = False
        config.provider.save()
    if fault == "agent":
        AgentConfig.objects.update(is_enabled=False)
        title = "is disabled"
    model.script(*[Reply("overloaded", status=500) if fault == "vendor" else QUARTER] * 2)
    fields = sent(config, message="hi", **({"c1-model": "gpt-5"} if fault == "model" else {}))
    shown = problem_of(staff.post(url(), fields, headers=EVENTS))
    assert title in shown
    assert link in shown
    assert title in staff.post(url(), fields).content.decode()


def test_a_tool_call_is_approved_in_place_and_the_run_goes_on(model, staff):
    config = make_agent_with(model, write_note)
    model.script(Reply("I will note it.", calls=[Call("write_note", {"text": "<b>x</b>"})]), "It is noted.")
    found = events(staff.post(url(), sent(config, message="Note x."), headers=EVENTS))
    asked = found[-1]["html"]
    assert "The agent asks to call a tool." in asked
    assert "&lt;b&gt;x&lt;/b&gt;" in asked
    row = Invocation.objects.get()
    (key,) = row.rounds.get().tool_calls.values_list("uid", flat=True)
    decision = {"run_id": str(row.run_id), f"decision-{key}": "approve"}
    (_started, asked, done, *text, _round_end, final) = events(staff.post(url("_decide"), decision, headers=EVENTS))
    assert (asked["type"], done["type"], final["text"]) == ("tool_call", "tool_result", "It is noted.")
    assert "".join(event["text"] for event in text) == "It is noted."
    assert "noted &lt;b&gt;x&lt;/b&gt;" in done["html"]
    row.refresh_from_db()
    assert row.status == "success"
    assert row.rounds.first().tool_calls.get().decided_by == User.objects.get().username
    again = staff.post(url("_decide"), decision, headers=EVENTS)
    assert "does not wait for a decision any more" in problem_of(again)


def test_what_a_call_does_is_told_and_its_arguments_can_be_changed_elsewhere(model, client_of):
    staff = client_of("view_agentconfig", "run_agent", "decide_approval", "view_payload", "view_toolcall")
    config = make_agent_with(model, write_note, describe_note)
    model.script(Reply(calls=[Call("describe_note", {"text": "x"})]))
    asked = events(staff.post(url(), sent(config, message="Note x."), headers=EVENTS))[-1]["html"]
    assert "Writes x into the book." in asked
    assert admin_pages.url("approval", Invocation.objects.get().pk) in asked


def test_who_asked_is_told_before_that_another_person_decides(model, staff):
    config = make_agent_with(model, write_note, approval_by_another_person=True)
    model.script(Reply(calls=[Call("write_note", {"text": "x"})]))
    asked = events(staff.post(url(), sent(config, message="Note x."), headers=EVENTS))[-1]["html"]
    assert "Another person has to decide, under Approvals." in asked
    assert "Continue the run" not in asked


@pytest.mark.parametrize("headers", [EVENTS, {}])
def test_a_decision_is_in_the_history_also_if_the_run_fails_afterwards(model, staff, headers):
    config = make_agent_with(model, write_note)
    model.script(Reply(calls=[Call("write_note", {"text": "x"})]), Reply("bad", status=400))
    events(staff.post(url(), sent(config, message="Note x."), headers=EVENTS))
    row = Invocation.objects.get()
    (key,) = row.rounds.get().tool_calls.values_list("uid", flat=True)
    decision = {"run_id": str(row.run_id), f"decision-{key}": "approve"}
    for _ in range(2):  # the second time, there is nothing to decide
        response = staff.post(url("_decide"), decision, headers=headers)
        b"".join(getattr(response, "streaming_content", ()))
    row.refresh_from_db()
    assert row.status == "failed"
    assert LogEntry.objects.get().change_message == "Approved the call."


def test_a_denial_tells_the_model_why_and_works_without_javascript(model, staff):
    config = make_agent_with(model, write_note)
    model.script(Reply(calls=[Call("write_note", {"text": "x"})]), "Then I will not.")
    page = staff.post(url(), sent(config, message="Note x.")).content.decode()
    row = Invocation.objects.get()
    (key,) = row.rounds.get().tool_calls.values_list("uid", flat=True)
    assert f'name="decision-{key}"' in page
    decision = {"run_id": str(row.run_id), f"decision-{key}": "deny", f"reason-{key}": "Not today."}
    assert "Then I will not." in staff.post(url("_decide"), decision).content.decode()
    assert "Not today." in str(model.requests[-1].body["messages"][-1])


def test_an_own_run_is_stopped_from_any_process(model, staff):
    config = make_agent_with(model, write_note)
    model.script(Reply(calls=[Call("write_note", {"text": "x"})]))
    events(staff.post(url(), sent(config, message="Note."), headers=EVENTS))
    row = Invocation.objects.get()
    answer = staff.post(url("_cancel"), {"run_id": str(row.run_id)}).content.decode()
    assert f"Invocation {row.pk}" in answer
    row.refresh_from_db()
    assert row.status == "cancelled"
    assert staff.get(url("_cancel")).status_code == 405


def test_who_may_run_decide_and_see_the_log(model, client_of):
    config = make_agent_with(model, write_note)
    assert client_of("view_agentconfig").get(url()).status_code == 403
    assert client_of("run_agent").get(url()).status_code == 403
    runner = client_of("view_agentconfig", "run_agent")
    model.script(Reply(calls=[Call("write_note", {"text": "x"})]))
    asked = events(runner.post(url(), sent(config, message="Note."), headers=EVENTS))[-1]["html"]
    assert "Ask someone who may." in asked
    assert "/invocation/" not in asked
    run_id = str(Invocation.objects.get().run_id)
    assert runner.post(url("_decide"), {"run_id": run_id}).status_code == 403
    blind = client_of("view_agentconfig", "run_agent", "decide_approval")
    assert blind.post(url("_decide"), {"run_id": run_id}).status_code == 403
    decider = client_of("view_agentconfig", "run_agent", "decide_approval", "view_payload")
    for name in ("_decide", "_cancel"):
        assert decider.post(url(name), {"run_id": run_id}).status_code == 404
        assert decider.post(url(name), {"run_id": "x"}).status_code == 404


def test_the_page_takes_the_same_number_of_queries_for_any_number_of_versions_and_sessions(model, staff):
    config = make_agent(
        model,
        user_prompt=make_prompt("Hi {{ a }}"),
        system_prompt=make_prompt("Be {{ b }}", "system"),
        short_term_memory=True,
    )
    counts = []
    for number in range(2):
        staff.get(url())
        counts.append(count_queries(staff, url()))
        config.user_prompt.add_version(f"Hello {number}")
        make_provider(model, name=f"p{number}")
        events(staff.post(url(), sent(config, message="hi"), headers=EVENTS))
    assert counts[0] == counts[1] <= 12
