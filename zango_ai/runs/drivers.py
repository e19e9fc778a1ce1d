"""Drive the loop of a run: carry out its steps with the caller's handlers. Only a driver waits."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from typing import Any, Protocol, TypeVar

from ..types import LLMMessage, LLMStreamChunk, ModelAnswer
from .engine import Ask, Step, Steps, UseTools, Wait

T = TypeVar("T")
Chunks = Generator[LLMStreamChunk, None, T]
"""Yields the chunks of a streamed run, and returns a result."""


class Handlers(Protocol):
    """Carry out the steps of the loop; see ``engine`` for their results."""

    def ask(self, step: Ask) -> Chunks[ModelAnswer]: ...

    def use_tools(self, step: UseTools) -> Chunks[Sequence[LLMMessage] | None]: ...

    def wait(self, step: Wait) -> Chunks[None]: ...


def drive(steps: Steps, handlers: Handlers) -> Chunks[ModelAnswer]:
    """Carry out the steps one after the other in the calling thread, and return the final answer."""
    try:
        step = next(steps)
        while True:
            try:
                result = yield from _carry_out(step, handlers)
            except Exception as exc:
                step = steps.throw(exc)
            else:
                step = steps.send(result)
    except StopIteration as end:
        answer: ModelAnswer = end.value
        return answer
    finally:
        steps.close()


def _carry_out(step: Step, handlers: Handlers) -> Chunks[Any]:
    match step:
        case Ask():
            return handlers.ask(step)
        case UseTools():
            return handlers.use_tools(step)
        case Wait():
            return handlers.wait(step)


def exhaust(chunks: Chunks[T], use: Callable[[LLMStreamChunk], object] = lambda chunk: None) -> T:
    """Pass each chunk to ``use``, and return the result of the run. An error of ``use`` closes the run."""
    with closing(chunks):
        while True:
            try:
                chunk = next(chunks)
            except StopIteration as end:
                result: T = end.value
                return result
            use(chunk)
