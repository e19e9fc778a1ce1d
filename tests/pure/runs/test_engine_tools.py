"""Where the loop goes on with tool calls, and where it ends."""

from dataclasses import replace

import pytest

from tests.pure.runs.test_engine import ANSWER, REQUEST, target
from zango_ai.exceptions import OutputParseError
from zango_ai.runs import engine
from zango_ai.types import LLMMessage, ToolRequest, ToolSchema

TOOLS = (ToolSchema("look", "Look.", {}),)
CALLS = replace(ANSWER, content="", tool_calls=(ToolRequest("1", "look", "{}"),))
TOLD = (LLMMessage("assistant", "", CALLS.tool_calls), LLMMessage("tool", "seen", tool_call_id="1"))


class Talk:
    """Plays model and tools: answers in order; what tools are asked for is told, or ``waits``."""

    def __init__(self, *answers, refuses=(), waits_at=None):
        self.answers, self.refuses, self.waits_at = list(answers), set(refuses), waits_at
        self.asked, self.used, self.stood = [], [], []

    def play(self, tool_rounds=2, corrections=0, waiting=None):
        start = engine.LoopState(replace(REQUEST, tools=TOOLS), tool_rounds, corrections, waiting)
        timing = engine.Timing(lambda: 0.0, lambda: 0.0)
        talk = engine.run_loop(start, [target("a")], timing, self.read, self.stood.append)
        try:
            step = next(talk)
            while True:
                step = talk.send(self.do(step))
        except StopIteration as end:
            return end.value

    def do(self, step):
        if isinstance(step, engine.Ask):
            self.asked.append(step.request)
            return self.answers.pop(0)
        self.used.append(step)
        return None if len(self.used) == self.waits_at else TOLD

    def read(self, answer):
        if answer.content in self.refuses:
            self.refuses.remove(answer.content)
            raise OutputParseError(answer.content, "no JSON")


def test_results_go_back_until_there_is_an_answer():
    talk = Talk(CALLS, CALLS, ANSWER)
    assert talk.play(tool_rounds=5) is ANSWER
    assert [len(request.messages) for request in talk.asked] == [1, 3, 5]
    assert all(request.tools == TOOLS for request in talk.asked)


def test_after_the_last_round_there_are_no_tools_any_more():
    talk = Talk(CALLS, CALLS, ANSWER)
    assert talk.play(tool_rounds=2).stop_reason == "max_tool_rounds"
    assert [bool(request.tools) for request in talk.asked] == [True, True, False]
    assert [step.may_call for step in talk.used] == [True, True]


def test_a_model_that_calls_all_the_same_ends_there():
    talk = Talk(CALLS, CALLS)
    assert talk.play(tool_rounds=1).stop_reason == "max_tool_rounds"
    assert [step.may_call for step in talk.used] == [True, False]


def test_corrections_and_rounds_of_tools_are_counted_apart():
    wrong = replace(ANSWER, content="wrong")
    talk = Talk(CALLS, wrong, CALLS, wrong, ANSWER, refuses=[])
    read_before = talk.read
    talk.read = lambda answer: refuse(answer) if answer.content == "wrong" else read_before(answer)
    assert talk.play(tool_rounds=3, corrections=2) is ANSWER
    assert len(talk.asked) == 5
    with pytest.raises(OutputParseError):
        again = Talk(CALLS, wrong, wrong)
        again.read = talk.read
        again.play(tool_rounds=3, corrections=1)


def refuse(answer):
    raise OutputParseError(answer.content, "no JSON")


def test_where_a_person_has_to_decide_the_loop_ends_and_can_be_taken_up():
    talk = Talk(CALLS, CALLS, waits_at=2)
    assert talk.play(tool_rounds=3).stop_reason == "approval_required"
    at = talk.stood[-1]
    assert (at.tool_rounds_left, at.output_retries_left, len(at.request.messages)) == (2, 0, 3)
    later = Talk(ANSWER)
    start = replace(at, pending_answer=CALLS)
    assert later.play(start.tool_rounds_left, waiting=CALLS) is ANSWER
    assert [step.answer for step in later.used] == [CALLS]


def test_the_last_round_may_be_one_that_had_waited():
    later = Talk(ANSWER)
    assert later.play(tool_rounds=1, waiting=CALLS).stop_reason == "max_tool_rounds"
    assert later.asked[0].tools == ()
