"""Arguments that no JSON reader takes: the model is told, and the run goes on."""

import json

import pytest

from tests.build import DEFAULT_MODELS, make_agent_with, make_provider
from zango_ai import get_agent, tool
from zango_ai.models import InvocationRound, MemoryMessage, ToolCall
from zango_ai.testing import Call, Reply, vendors
from zango_ai.testing.vendors import Answer

PATHS = {
    "anthropic": "/v1/messages",
    "gemini": "/v1beta/models/gemini-2.5-flash:generateContent",
    "bedrock": "/model/some/converse",
}
KINDS = ["openai", "openai_compatible", "azure", "mistral", "groq", *PATHS]
DIGITS = "7" * 5_000
DEEP = "[" * 2_000 + "]" * 2_000


@tool(description="Take numbers.")
def take_numbers(numbers: object = None) -> str:
    return "taken"


def answer_with(kind: str, excess: str) -> Reply:
    """A call of the tool in the format of that kind, with ``excess`` as its argument."""
    vendor = vendors.chat_vendor(PATHS.get(kind, "/v1/chat/completions"))
    call = Call("take_numbers", {"numbers": 1234567}, id="call-1")
    answer = Answer("", (call,), "tool_calls", 10, 10, 0, 0, 0)
    return Reply(raw=json.dumps(vendor.response({}, answer)).replace("1234567", excess).encode())


@pytest.mark.parametrize("excess", [DIGITS, DEEP], ids=["digits", "levels"])
@pytest.mark.parametrize("kind", KINDS)
def test_arguments_that_cannot_be_read_are_invalid_and_the_run_goes_on(model, north, kind, excess):
    provider = make_provider(model, kind=kind, default_model=DEFAULT_MODELS.get(kind, "gpt-4o-mini"))
    make_agent_with(model, take_numbers, provider=provider, short_term_memory=True)
    model.script(answer_with(kind, excess), "I see.", "Yes.")
    response = get_agent("helper").run("hi")
    assert response.content == "I see."
    assert [call.status for call in response.tool_calls] == ["invalid_arguments"]
    assert "levels deep" in json.dumps(response.tool_calls[0].result)
    # The log has them as the model wrote them.
    assert ToolCall.objects.get().arguments == f'{{"numbers": {excess}}}'
    assert excess in InvocationRound.objects.get(number=1).response_tool_calls[0]["arguments"]
    get_agent("helper").run("And now?", session_id=response.session_id)
    assert MemoryMessage.objects.count() == 6
