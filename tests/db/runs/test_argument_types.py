"""A wrong type is a TypeError that says what to pass, and leaves the caller's transaction usable."""

from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import pytest
from django.db import connection, transaction

from tests.build import make_agent, make_prompt
from zango_ai import LLMFile, LLMMessage, get_agent, get_prompt, get_provider, get_run
from zango_ai.models import AgentConfig, Invocation
from zango_ai.types import ToolRequest

pytestmark = pytest.mark.usefixtures("live_north")

NOT_TEXT: list[Any] = [3, None, b"helper", ["helper"], Decimal(1), object()]


def refused(call, match="pass") -> None:
    """Refused inside a transaction of the caller's, which goes on afterwards."""
    with transaction.atomic():
        with pytest.raises(TypeError, match=match):
            call()
        AgentConfig.objects.count()  # PostgreSQL answers nothing in a transaction that is broken


@pytest.mark.parametrize("look_up", [get_agent, get_provider, get_prompt])
@pytest.mark.parametrize("name", NOT_TEXT)
def test_a_name_is_text(look_up, name):
    with connection.execute_wrapper(fail_at_a_query), pytest.raises(TypeError, match="pass it as a str"):
        look_up(name)
    refused(lambda: look_up(name))


def fail_at_a_query(execute, sql, params, many, context):
    raise AssertionError(sql)


@pytest.mark.parametrize("run_id", [3, None, b"x", ["x"]])
def test_the_id_of_a_run_is_a_uuid_or_its_text(model, run_id):
    make_agent(model)
    refused(lambda: get_run(run_id), "pass a UUID or its text")
    refused(lambda: get_agent("helper").resume(run_id, {}), "pass a UUID or its text")


WRONG = [
    ({"input": 3}, "input is of type int"),
    ({"input": b"x"}, "input is of type bytes"),
    ({"variables": 3}, "variables is of type int"),
    ({"variables": ["x"]}, "variables is of type list"),
    ({"input": "x", "variables": "x"}, "variables is of type str"),
    ({"input": "x", "system_variables": 3}, "system_variables is of type int"),
    ({"messages": 3}, "messages is of type int"),
    ({"messages": LLMMessage("user", "x")}, "messages is of type LLMMessage"),
    ({"messages": "x"}, "messages is of type str"),
    ({"messages": ["x"]}, "An item of messages is of type str"),
    ({"input": "x", "messages": 3}, "messages is of type int"),
    ({"input": "x", "files": 3}, "files is of type int"),
    ({"input": "x", "files": "x"}, "files is of type str"),
    ({"input": "x", "files": ["x"]}, "An item of files is of type str"),
    ({"input": "x", "session_id": 3}, "session_id is of type int"),
    ({"input": "x", "max_tool_rounds": "3"}, "max_tool_rounds is of type str"),
]


@pytest.mark.parametrize("memory", [False, True])
@pytest.mark.parametrize(("arguments", "words"), WRONG)
def test_what_is_asked_has_its_types(model, arguments, words, memory):
    make_agent(model, user_prompt=make_prompt("Report."), short_term_memory=memory)
    agent = get_agent("helper")
    refused(lambda: agent.run(**arguments), words)
    refused(lambda: agent.enqueue(**arguments), words)
    assert model.requests == []
    assert set(Invocation.objects.values_list("status", flat=True)) <= {"failed"}


def test_a_conversation_to_clear_is_named_by_text(model):
    make_agent(model, short_term_memory=True)
    for wrong in (3, None, b"x"):
        refused(lambda wrong=wrong: get_agent("helper").clear_session(wrong))


def test_decisions_are_a_dict(model):
    make_agent(model)
    refused(lambda: get_agent("helper").resume("6c0e1f0e-6f0f-4b43-8d12-5a7b1f5bb7a5", [True]), "pass a dict")


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: LLMFile.from_bytes("text", "text/plain"), "pass bytes"),
        (lambda: LLMFile.from_bytes(b"x", 3), "media_type is of type int"),
        (lambda: LLMFile.from_bytes(b"x", "text/plain", 3), "filename is of type int"),
        (lambda: LLMFile.from_url(3), "pass the URL as a str"),
        (lambda: LLMFile.from_url("https://example.com/a.png", 3), "media_type is of type int"),
        (lambda: LLMFile.from_path(3), "path is of type int"),
        (lambda: LLMFile.from_path(None), "path is None"),
        (lambda: LLMFile.from_django_file("a.txt"), "file is of type str"),
        (lambda: LLMFile.from_django_file(b"x"), "file is of type bytes"),
        (lambda: LLMFile.from_django_file(SimpleNamespace(name="a.txt")), "file is of type SimpleNamespace"),
        (lambda: LLMMessage(3, "x"), "role is of type int"),
        (lambda: LLMMessage("user", 3), "content is of type int"),
        (lambda: LLMMessage("user", "x", files=3), "files is of type int"),
        (lambda: LLMMessage("user", "x", files=LLMFile.from_bytes(b"x", "text/plain")), "files is of type LLMFile"),
        (lambda: LLMMessage("user", "x", files=["x"]), "An item of LLMMessage.files is of type str"),
        (lambda: LLMMessage("assistant", "x", tool_calls=["x"]), "An item of LLMMessage.tool_calls is of type str"),
        (lambda: LLMMessage("tool", "x", tool_call_id=3), "tool_call_id is of type int"),
    ],
)
def test_files_and_messages_have_their_types(make, words):
    with pytest.raises(TypeError, match=words):
        make()


def test_a_message_takes_any_list_of_files_and_calls_and_keeps_its_own():
    files, calls = [LLMFile.from_bytes(b"x", "text/plain")], [ToolRequest("1", "a", "{}")]
    message = LLMMessage("assistant", "x", calls, files=files)
    files.clear(), calls.clear()
    assert (len(message.files), len(message.tool_calls)) == (1, 1)
    assert isinstance(hash(message.tool_calls), int)
