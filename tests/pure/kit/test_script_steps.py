"""The words of a script: what they mean, how they are shown, and what they refuse."""

import uuid
from dataclasses import dataclass
from datetime import date

import pytest
from pydantic import BaseModel

from zango_ai.exceptions import LLMTimeoutError
from zango_ai.testing import always, calls, fails, says
from zango_ai.testing.asserting import ToolAssertions
from zango_ai.testing.script import Script
from zango_ai.testing.steps import described
from zango_ai.types import LLMToolCall


@dataclass
class Dose:
    count: int


class Plan(BaseModel):
    count: int


@pytest.mark.parametrize("value", [{"count": 2}, Dose(2), Plan(count=2)])
def test_values_are_sent_as_json(value):
    assert says(value).text.replace(" ", "") == '{"count":2}'


def test_strings_are_joined_and_streamed_as_they_are():
    assert says("Two ", "a day.").text == "Two a day."
    assert says("Two ", "a day.").streamed_pieces == ["Two ", "a day."]
    assert says("Two a day.").streamed_pieces == ["Two", " a", " day."]
    assert says().text == ""


def test_strings_and_values_cannot_be_mixed():
    with pytest.raises(TypeError, match="one value to send as JSON"):
        says("Dose: ", {"count": 2})


def test_arguments_may_have_any_name_and_be_dates_and_ids():
    (call,) = calls("find", name="Ada", tool="x", on=date(2026, 1, 2), key=uuid.UUID(int=1)).calls
    assert call.arguments == {"name": "Ada", "tool": "x", "on": "2026-01-02", "key": str(uuid.UUID(int=1))}


def test_arguments_that_are_no_valid_json_are_sent_as_they_are():
    assert calls("find", '{"name": "Ad').calls[0].arguments_text == '{"name": "Ad'
    with pytest.raises(TypeError, match="as keywords, or in one mapping or text"):
        calls("find", "{}", name="Ada")


def test_a_function_that_is_no_tool_cannot_be_called():
    with pytest.raises(TypeError, match="decorated with @tool"):
        calls(date.today)


def test_parts_of_one_answer_are_added():
    answer = says("Let me look. ") + calls("a", x=1) + calls("b").with_usage(input_tokens=5)
    assert (answer.text, [call.name for call in answer.calls]) == ("Let me look. ", ["a", "b"])
    assert answer.usage.input_tokens == 5
    assert described(answer) == "says('Let me look. ') + calls('a', x=1) + calls('b')"
    with pytest.raises(TypeError, match="unsupported operand"):
        says("One.") + "Two."


def test_an_error_is_an_instance_or_a_class():
    assert isinstance(fails(LLMTimeoutError).error, LLMTimeoutError)
    assert described(fails(LLMTimeoutError("Late."))) == "fails(LLMTimeoutError('Late.'))"
    with pytest.raises(TypeError, match="takes an exception, not 'Late'"):
        fails("Late")


def test_a_script_refuses_what_is_no_step_and_adds_nothing():
    script = Script("agent 'helper'")
    with pytest.raises(TypeError, match=r"not dict\. For JSON, use says"):
        script.add("One.", {"dose": 2})
    assert script.left == []


def test_always_is_the_last_step():
    script = Script("agent 'helper'")
    with pytest.raises(ValueError, match="must be the last step"):
        script.add(always("One."), "Two.")
    script.add("One.", always("Two."))
    with pytest.raises(ValueError, match="ends with always"):
        script.add("Three.")


class Agent(ToolAssertions):
    _owner = "Agent 'helper'"

    def __init__(self, *calls):
        self._calls = list(calls)

    @property
    def tool_calls(self):
        return self._calls


AGENT = Agent(
    LLMToolCall("1", "find", {"name": "Ada", "limit": 5}),
    LLMToolCall("2", "write", {}, status="awaiting_approval"),
    LLMToolCall("3", "count", {}, status="error"),
)


def test_tools_that_were_executed_are_told_from_those_that_were_not():
    AGENT.assert_tools_called("find", "count")
    AGENT.assert_tool_called("find", name="Ada")
    AGENT.assert_tool_not_called("write", "other")


@pytest.mark.parametrize(
    ("check", "message"),
    [
        (
            lambda: AGENT.assert_tools_called("count", "find"),
            "should have executed count, find, but executed find, c",
        ),
        (
            lambda: AGENT.assert_tool_called("find", name="Bob"),
            "has not executed find(name='Bob'). The model called:",
        ),
        (lambda: AGENT.assert_tool_called("write"), "\n  write(): awaiting_approval"),
        (
            lambda: AGENT.assert_tool_not_called("find"),
            "executed find. The model called:\n  find(name='Ada', limit=5)",
        ),
        (lambda: Agent().assert_tool_called("find"), "has not executed find(). The model called no tool."),
    ],
)
def test_a_failed_assertion_lists_the_calls(check, message):
    with pytest.raises(AssertionError) as caught:
        check()
    assert message in str(caught.value)
