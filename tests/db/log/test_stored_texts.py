"""The log stores each text once, and gives back every request to the letter. These tests commit."""

import json

import pytest
from django.db import connection

from tests.build import make_agent, make_agent_with, make_prompt
from tests.schemas import schema_context
from tests.statements import statements
from tests.together import run_together
from zango_ai import LLMMessage, get_agent, sanitize, tool
from zango_ai.ledger.payloads import RequestPayloads
from zango_ai.models import InvocationRound, MemoryMessage, MemorySession, Payload
from zango_ai.testing import Call, Reply

pytestmark = pytest.mark.usefixtures("live_north")
LONG = "You are the assistant of a clinic. Answer briefly, and never give a diagnosis. " * 3
ODD = 'quotes " and \\ and \x7f and \U0001f600 and {"a": [1.0, "x"]} and <script>' * 2


@tool(description="Repeat the text. " * 5)
def echo_text(text: str) -> str:
    return text


def raw(column: str) -> list[list[object]]:
    """What the rounds' rows contain, in order."""
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {column} FROM zango_ai_invocationround ORDER BY id")
        return [json.loads(value) for (value,) in cursor.fetchall()]


def sent(model) -> list[list[tuple[str, str | None]]]:
    return [[(m["role"], m["content"]) for m in request.body["messages"]] for request in model.requests]


def logged() -> list[list[tuple[str, str | None]]]:
    rounds = InvocationRound.objects.order_by("id").values_list("request_messages", flat=True)
    return [[(m["role"], m["content"]) for m in messages] for messages in rounds]


def test_a_system_prompt_is_stored_once_for_many_runs(model):
    make_agent(model, system_prompt=make_prompt(LONG, "system"))
    for number in range(3):
        get_agent("helper").run(f"question {number} {ODD}")
    assert [payload.content["content"] for payload in Payload.objects.all()] == [LONG]
    assert logged() == sent(model)
    assert logged()[2] == [("system", LONG), ("user", f"question 2 {ODD}")]


def test_a_turn_of_a_conversation_stores_only_what_is_new(model):
    make_agent(model, short_term_memory=True)
    for number in range(4):
        get_agent("helper").run(f"question {number}: {LONG}", session_id="s")
    assert logged() == sent(model)
    stored = [payload.content["content"] for payload in Payload.objects.all()]
    assert len(stored) == len(set(stored)) == 7, "four questions and three answers"
    assert all(isinstance(item, str) and len(item) == 22 for item in raw("request_messages")[3])


def test_tool_rounds_are_reconstructed_to_the_letter(model):
    make_agent_with(model, echo_text)
    model.script(Reply(calls=[Call("echo_text", {"text": ODD})]), "done")
    get_agent("helper").run(ODD)
    first, second = InvocationRound.objects.order_by("number")
    assert second.request_messages[:1] == first.request_messages == [{"role": "user", "content": ODD}]
    assert [m["role"] for m in second.request_messages] == ["user", "assistant", "tool"]
    assert json.loads(second.request_messages[1]["tool_calls"][0]["arguments"]) == {"text": ODD}
    assert first.request_tools == second.request_tools
    assert first.request_tools[0]["name"] == "echo_text"
    assert raw("request_tools")[0] == raw("request_tools")[1] != first.request_tools


def test_two_users_never_share_a_stored_text(model):
    make_agent(model, system_prompt=make_prompt(LONG, "system"))
    for user in ("ada", "bob", "ada", ""):
        get_agent("helper").run("hi", user_ref=user)
    owners = list(Payload.objects.values_list("owner", flat=True))
    assert len(owners) == len(set(owners)) == 3
    assert None in owners
    assert logged() == sent(model)


def test_a_long_conversation_refers_to_blocks(model):
    agent = make_agent(model, short_term_memory=True, short_term_memory_max_messages=1_000)
    get_agent("helper").run("first", session_id="s")
    session = MemorySession.objects.get()
    rows = [
        MemoryMessage(session=session, sequence=n, role=("assistant", "user")[n % 2], content=f"message {n} " * 9)
        for n in range(3, 1_801)
    ]
    MemoryMessage.objects.bulk_create(rows)
    MemorySession.objects.update(last_sequence=1_800, turns_count=900)
    assert agent.short_term_memory_max_messages == 1_000
    for number in range(3):
        get_agent("helper").run(f"turn {number}", session_id="s")
    assert logged() == sent(model)
    sizes = [len(json.dumps(row)) for row in raw("request_messages")[1:]]
    assert max(sizes) < 8_000, "beside 200,000 characters of messages"
    assert Payload.objects.count() < 200


def test_the_messages_themselves_set_the_bounds_of_blocks():
    """A list that has lost messages at its beginning and got new ones at its end keeps its blocks."""
    messages = [{"role": "user", "content": f"message {n} " * 9} for n in range(2_000)]
    first, second = RequestPayloads("ada"), RequestPayloads("ada")
    first.messages(messages[:1_990], is_newest_inline=False)
    second.messages(messages[10:], is_newest_inline=False)
    assert len(first.contents.keys() - second.contents.keys()) < 60


def test_parts_of_a_request_can_be_selected_and_rows_copied(model):
    make_agent(model, system_prompt=make_prompt(LONG, "system"))
    get_agent("helper").run("hi")
    rows = InvocationRound.objects.filter(status="success")
    assert rows.values("request_messages")[0]["request_messages"][1] == {"role": "user", "content": "hi"}
    assert rows.values_list("request_messages__1__content", flat=True)[0] == "hi"
    assert rows.defer("request_messages").get().request_messages[0]["content"] == LONG
    copy = rows.get()
    copy.pk, copy.number = None, 2
    copy.save()
    copy.refresh_from_db()
    assert copy.request_messages == rows.get(number=1).request_messages


def test_all_rounds_of_a_page_are_resolved_in_one_statement(model):
    make_agent(model, short_term_memory=True)
    for number in range(3):
        get_agent("helper").run(f"question {number}: {LONG}", session_id="s")
    found = []
    asked = statements(lambda: found.extend(InvocationRound.objects.order_by("id")))
    assert [len(row.request_messages) for row in found] == [1, 3, 5]
    assert len([sql for sql in asked if sql.startswith("SELECT")]) == 1, asked


def test_concurrent_runs_with_the_same_new_texts(model):
    make_agent(model, system_prompt=make_prompt(LONG, "system"))
    history = [LLMMessage(("user", "assistant")[n % 2], f"{n} {LONG}") for n in range(9)]

    def run():
        with schema_context("north"):
            get_agent("helper").run(messages=history)

    run_together([run] * 8)
    assert logged() == sent(model)
    assert len(logged()) == 8
    assert Payload.objects.count() == 9, "each run has stored its newest message in its own row"


def test_a_text_that_was_removed_is_shown_as_removed(model):
    make_agent(model, system_prompt=make_prompt(LONG, "system"))
    get_agent("helper").run("hi")
    Payload.objects.all().delete()
    assert InvocationRound.objects.get().request_messages == [
        {"role": "removed", "content": ""},
        {"role": "user", "content": "hi"},
    ]


def test_a_request_that_is_too_long_for_the_log_is_replaced_by_a_note(model, monkeypatch):
    make_agent(model)
    monkeypatch.setattr(sanitize, "MAX_JSON_CHARS", 300)
    monkeypatch.setattr(sanitize, "MAX_VALUES", 10)  # all messages together have more than that
    get_agent("helper").run(messages=[LLMMessage("user", f"message {number}") for number in range(9)])
    assert "too long for the log" in InvocationRound.objects.get().request_messages["_cut"]
