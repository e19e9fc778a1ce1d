"""Drive the turns of a conversation to their end."""

from __future__ import annotations

from collections.abc import Callable

from ..types import ModelAnswer
from .turns import Ask, Turns


def drive(turns: Turns, ask: Callable[[Ask], ModelAnswer]) -> ModelAnswer:
    """Do what the turns ask for, one step after the other, in the calling thread."""
    try:
        step = next(turns)
        while True:
            try:
                answer = ask(step)
            except Exception as exc:
                step = turns.throw(exc)
            else:
                step = turns.send(answer)
    except StopIteration as end:
        result: ModelAnswer = end.value
        return result
    finally:
        turns.close()
