"""Drive the turns of a conversation to their end."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from ..types import LLMMessage, ModelAnswer
from .engine import Ask, Step, Turns, UseTools, Wait


def drive(
    turns: Turns,
    ask: Callable[[Ask], ModelAnswer],
    use_tools: Callable[[UseTools], Sequence[LLMMessage] | None],
) -> ModelAnswer:
    """Do what the turns ask for, one step after the other, in the calling thread."""

    def do(step: Step) -> ModelAnswer | Sequence[LLMMessage] | None:
        if isinstance(step, Ask):
            return ask(step)
        if isinstance(step, UseTools):
            return use_tools(step)
        assert isinstance(step, Wait)
        time.sleep(step.seconds)
        return None

    try:
        step = next(turns)
        while True:
            try:
                result = do(step)
            except Exception as exc:
                step = turns.throw(exc)
            else:
                step = turns.send(result)
    except StopIteration as end:
        answer: ModelAnswer = end.value
        return answer
    finally:
        turns.close()
