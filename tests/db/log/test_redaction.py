"""Texts are redacted before they are stored; what is sent and returned is not. These tests commit."""

import json

import pytest
from django.core.management import call_command

from tests.build import make_agent, make_agent_with, make_prompt
from tests.db.log.test_erase import dump
from zango_ai import LLMFile, get_agent, tool
from zango_ai.exceptions import LLMAPIError
from zango_ai.models import Invocation, InvocationRound, MemoryMessage, ToolCall
from zango_ai.testing import Call, Reply

pytestmark = pytest.mark.usefixtures("live_north")
NAME = 'Jörg "Ada" Müller'
LONG = f"{NAME} is the patient, and this text is long enough to be stored apart from the row of its round."


@tool(description="Find a person.")
def seek_person(text: str) -> dict[str, str]:
    if "fail" in text:
        raise ValueError(f"nobody is called {text}")
    return {NAME: f"seen: {text}"}


@tool(description="Write to a person.", safety="external", requires_approval=True)
def notify_person(text: str) -> str:
    return f"written to {text}"


@pytest.fixture
def redact(settings, model, tmp_path):
    """Set the callable; by default, it replaces the name."""

    def use(redact=lambda text: text.replace(NAME, "<PERSON>")):
        settings.ZANGO_AI = {**settings.ZANGO_AI, "REDACT": redact}

    settings.MEDIA_ROOT = tmp_path
    use()
    return use


def test_every_text_of_a_run_is_redacted_before_it_is_stored(model, redact):
    make_agent_with(model, seek_person, system_prompt=make_prompt("You work for {{ who }}.", "system"))
    calls = [Call("seek_person", {"text": NAME}), Call("seek_person", {"text": f"fail {NAME}"}), Call(f"x {NAME}")]
    model.script(Reply(calls=calls), f"Hello {NAME}")
    file = LLMFile.from_bytes(b"hello", "text/plain", f"{NAME}.txt")
    response = get_agent("helper").run(LONG, system_variables={"who": NAME}, files=[file])
    assert response.content == f"Hello {NAME}"
    assert response.tool_calls[0].result == {NAME: f"seen: {NAME}"}
    body = model.requests[1].body
    assert body["messages"][0]["content"] == f"You work for {NAME}."
    assert NAME in json.loads(body["messages"][-3]["content"])
    told = dump()
    assert not [line for line in told.splitlines() if "Müller" in line or "M\\u00fcller" in line]
    assert told.count("<PERSON>") > 10
    messages = InvocationRound.objects.get(number=2).request_messages
    assert [m["role"] for m in messages] == ["system", "user", "assistant", "tool", "tool", "tool"]
    assert messages[1]["content"] == LONG.replace(NAME, "<PERSON>")
    assert json.loads(messages[2]["tool_calls"][0]["arguments"]) == {"text": "<PERSON>"}
    assert ToolCall.objects.order_by("id")[0].result == {"<PERSON>": "seen: <PERSON>"}


def test_an_invented_tool_name_is_redacted_in_the_next_request_and_in_memory_too(model, redact):
    """Vendors take only plain characters in a name, and the callable would not know the person in the rest."""
    make_agent_with(model, seek_person, short_term_memory=True)
    model.script(Reply(calls=[Call(f"Tell {NAME}")]), "done", "again")
    assert get_agent("helper").run("hi", session_id="s").tool_calls[0].name == f"Tell {NAME}"
    get_agent("helper").run("and now", session_id="s")
    for request, row in zip(model.requests[1:], InvocationRound.objects.order_by("id")[1:], strict=True):
        sent, logged = request.body["messages"][1], row.request_messages[1]
        assert sent["tool_calls"][0]["function"]["name"] == logged["tool_calls"][0]["name"] == "Tell__PERSON_"
    assert "M_ller" not in dump()


def test_an_error_is_redacted(model, redact):
    make_agent(model)
    model.script(Reply(f"nothing is known of {NAME}, who has asked", status=400))
    with pytest.raises(LLMAPIError):
        get_agent("helper").run("hi")
    assert "<PERSON>" in Invocation.objects.get().error_message + InvocationRound.objects.get().error_message
    assert "Müller" not in dump()


def test_memory_is_not_redacted_because_it_is_sent_again(model, redact):
    make_agent(model, short_term_memory=True)
    for text in (LONG, "second"):
        get_agent("helper").run(text, session_id="s")
    assert model.requests[1].body["messages"][0]["content"] == LONG
    assert MemoryMessage.objects.filter(content=LONG).exists()
    assert NAME not in str([row.request_messages for row in InvocationRound.objects.all()])


@pytest.mark.parametrize(
    ("does", "note"),
    [
        (lambda text: 1 / 0, "[not stored: REDACT raised ZeroDivisionError]"),
        (lambda text: None, "[not stored: REDACT returned NoneType]"),
    ],
    ids=["raises", "returns nothing"],
)
def test_a_text_that_cannot_be_redacted_is_not_stored_and_the_row_says_so(model, redact, caplog, does, note):
    redact(does)
    make_agent(model)
    model.script(f"Hello {NAME}")
    assert get_agent("helper").run(LONG).content == f"Hello {NAME}"
    row = InvocationRound.objects.get()
    assert row.request_messages == [{"role": "user", "content": note}]
    assert row.response_content == row.invocation.response_content == note
    assert row.invocation.status == "success"
    assert "Müller" not in dump()
    assert "so a text was not stored" in caplog.text
    assert "Müller" not in caplog.text


def test_a_failure_is_not_remembered(model, redact):
    fails = [True]
    redact(lambda text: 1 / 0 if fails else text)
    make_agent(model)
    get_agent("helper").run("hi")
    fails.clear()
    get_agent("helper").run("hi")
    first, second = InvocationRound.objects.order_by("id")
    assert [m["content"] for m in first.request_messages + second.request_messages][1] == "hi"


def test_a_run_that_waited_for_approval_continues_with_the_real_texts(model, redact):
    make_agent_with(model, seek_person, notify_person)
    model.script(Reply(calls=[Call("seek_person", {"text": NAME}), Call("notify_person", {"text": NAME})]), "done")
    paused = get_agent("helper").run("hi")
    assert ToolCall.objects.get(tool_name="seek_person").result == {"<PERSON>": "seen: <PERSON>"}
    resumed = get_agent("helper").resume(paused.run_id, approvals={paused.pending_approvals[0].id: True})
    found, written = model.requests[1].body["messages"][-2:]
    assert json.loads(found["content"]) == {NAME: f"seen: {NAME}"}
    assert NAME in written["content"]
    assert [call.input for call in resumed.tool_calls] == [{"text": NAME}] * 2
    assert "Müller" not in dump()


def test_the_callable_may_be_a_dotted_path(model, redact):
    redact("tests.db.log.test_redaction.shout")
    call_command("check")
    make_agent(model)
    get_agent("helper").run("hi")
    assert Invocation.objects.get().response_content.isupper()


def shout(text: str) -> str:
    return text.upper()
