"""Drive the turns of a conversation to their end."""

from __future__ import annotations

import time
from collections.abc import Callable

from ..types import ModelAnswer
from .turns import Ask, Turns, Wait


def drive(turns: Turns, ask: Callable[[Ask], ModelAnswer]) -> ModelAnswer:
    """Do what the turns ask for, one step after the other, in the calling thread."""
    try:
        step = next(turns)
        while True:
            try:
                result = _do(step, ask)
            except Exception as exc:
                step = turns.throw(exc)
            else:
                step = turns.send(result)
    except StopIteration as end:
        answer: ModelAnswer = end.value
        return answer
    finally:
        turns.close()


def _do(step: Ask | Wait, ask: Callable[[Ask], ModelAnswer]) -> ModelAnswer | None:
    if isinstance(step, Wait):
        time.sleep(step.seconds)
        return None
    return ask(step)
