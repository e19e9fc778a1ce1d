"""Drive the loop of a run: carry out its steps with the caller's handlers. Only a driver waits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from ..types import LLMMessage, ModelAnswer
from .engine import Ask, Step, Steps, UseTools, Wait


class Handlers(Protocol):
    """Carry out the steps of the loop; see ``engine`` for their results."""

    def ask(self, step: Ask) -> ModelAnswer: ...

    def use_tools(self, step: UseTools) -> Sequence[LLMMessage] | None: ...

    def wait(self, step: Wait) -> None: ...


def drive(steps: Steps, handlers: Handlers) -> ModelAnswer:
    """Carry out the steps one after the other in the calling thread, and return the final answer."""
    try:
        step = next(steps)
        while True:
            try:
                result = _carry_out(step, handlers)
            except Exception as exc:
                step = steps.throw(exc)
            else:
                step = steps.send(result)
    except StopIteration as end:
        answer: ModelAnswer = end.value
        return answer
    finally:
        steps.close()


def _carry_out(step: Step, handlers: Handlers) -> ModelAnswer | Sequence[LLMMessage] | None:
    match step:
        case Ask():
            return handlers.ask(step)
        case UseTools():
            return handlers.use_tools(step)
        case Wait():
            handlers.wait(step)
            return None
