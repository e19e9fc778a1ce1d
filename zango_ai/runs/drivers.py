"""Drive a run. Only a driver waits.

A run is written once, as ``Work``: a generator that yields chunks of the stream, and effects, whose results it is
sent. ``chunks_of()`` and ``exhaust()`` drive it in the calling thread, ``AsyncDriver`` on an event loop. There, the
work itself is executed in short steps in a thread, because it uses the database; the effects are awaited.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Generator, Sequence
from contextlib import aclosing, closing
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic, Protocol, TypeVar

from ..types import LLMMessage, LLMStreamChunk, ModelAnswer
from . import async_context
from .async_context import AsyncContext
from .effects import Effect, Read
from .engine import Ask, Step, Steps, UseTools, Wait

T = TypeVar("T")
Item = LLMStreamChunk | Effect | Read
Work = Generator[Item, Any, T]
"""Yields chunks and effects, is sent the effects' results, and returns a result."""


class Handlers(Protocol):
    """Carry out the steps of the loop; see ``engine`` for their results."""

    def ask(self, step: Ask) -> Work[ModelAnswer]: ...

    def use_tools(self, step: UseTools) -> Work[Sequence[LLMMessage] | None]: ...

    def wait(self, step: Wait) -> Work[None]: ...


def drive(steps: Steps, handlers: Handlers) -> Work[ModelAnswer]:
    """Carry out the steps of the loop one after the other, and return the final answer."""
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


def _carry_out(step: Step, handlers: Handlers) -> Work[Any]:
    match step:
        case Ask():
            return handlers.ask(step)
        case UseTools():
            return handlers.use_tools(step)
        case Wait():
            return handlers.wait(step)


def chunks_of(work: Work[T]) -> Generator[LLMStreamChunk[Any], None, T]:
    """Do the work in the calling thread: yield its chunks, and return its result."""
    try:
        item = next(work)
        while True:
            result: Any = None
            try:
                if isinstance(item, LLMStreamChunk):
                    yield item
                elif isinstance(item, Read):
                    yield from item.chunks()
                    result = item.result()
                else:
                    result = item.carry_out()
            except BaseException as exc:
                item = work.throw(exc)
            else:
                item = work.send(result)
    except StopIteration as end:
        value: T = end.value
        return value


def exhaust(work: Work[T], use: Callable[[LLMStreamChunk], object] = lambda chunk: None) -> T:
    """Do the work in the calling thread. Pass each chunk to ``use``, whose error closes the run."""
    with closing(chunks_of(work)) as chunks:
        while True:
            try:
                chunk = next(chunks)
            except StopIteration as end:
                result: T = end.value
                return result
            use(chunk)


@dataclass(frozen=True, slots=True)
class _Ended(Generic[T]):
    """The work has ended, with a result or an error."""

    result: T | None = None
    error: BaseException | None = None


class AsyncDriver(Generic[T]):
    """Does one work on the running event loop, in the context of the task that calls it.

    A cancellation of the task is thrown into the work where it waits. The work's own steps are never interrupted.
    """

    def __init__(self, work: Work[T], context: AsyncContext) -> None:
        self._work, self._context = work, context

    async def result(self) -> T:
        """Do the work. Nobody reads its chunks."""
        with self._context.in_use():
            step: Callable[[], Item] = partial(next, self._work)
            while True:
                item = await self._advance(partial(_next_effect, self._work, step))
                if isinstance(item, _Ended):
                    return self._result_of(item)
                step = await self._carry_out(item)

    async def chunks(self) -> AsyncGenerator[LLMStreamChunk[Any], None]:
        """Do the work, and yield its chunks."""
        with self._context.in_use():
            step: Callable[[], Item] = partial(next, self._work)
            while True:
                item = await self._advance(step)
                if isinstance(item, _Ended):
                    self._result_of(item)
                    return
                try:
                    if isinstance(item, Read):
                        async with aclosing(item.chunks_async()) as chunks:
                            async for chunk in chunks:
                                yield chunk
                        step = partial(self._work.send, item.result())
                    elif isinstance(item, LLMStreamChunk):
                        yield item
                        step = partial(next, self._work)
                    else:
                        step = await self._carry_out(item)
                except BaseException as exc:
                    step = partial(self._work.throw, exc)

    async def _carry_out(self, item: Any) -> Callable[[], Item]:
        """The work's next step, with the effect's result or error."""
        try:
            result = await item.carry_out_async(self._context)
        except BaseException as exc:
            return partial(self._work.throw, exc)
        return partial(self._work.send, result)

    async def _advance(self, step: Callable[[], Item]) -> Item | _Ended[T]:
        """Execute a step in a thread. If the task was cancelled meanwhile, cancel the work."""
        item, cancellation = await self._context.complete(partial(_outcome_of, step))
        while cancellation is not None:
            if isinstance(item, _Ended):
                raise cancellation
            throw = partial(_outcome_of, partial(self._work.throw, asyncio.CancelledError()))
            item, another = await self._context.complete(throw)
            if isinstance(item, _Ended):
                raise another or cancellation
        return item

    def _result_of(self, ended: _Ended[T]) -> T:
        if ended.error is not None:
            raise ended.error
        return ended.result  # type: ignore[return-value]


def _next_effect(work: Work[Any], step: Callable[[], Item]) -> Item:
    """The next item that is not a chunk."""
    item = step()
    while isinstance(item, LLMStreamChunk):
        item = next(work)
    return item


def _outcome_of(step: Callable[[], Item]) -> Item | _Ended[Any]:
    """The next item, or how the work has ended: an exception is not raised through the thread."""
    try:
        return step()
    except StopIteration as end:
        return _Ended(result=end.value)
    except BaseException as exc:
        return _Ended(error=exc)


async def run_async(work: Work[T]) -> T:
    """Do the work on the running event loop."""
    return await AsyncDriver(work, await async_context.of_caller()).result()


async def stream_async(work: Work[None], context: AsyncContext | None) -> AsyncGenerator[LLMStreamChunk[Any], None]:
    """Do the work on the running event loop, and yield its chunks. ``context`` is that of ``of_event_loop()``."""
    context = context or await async_context.of_sensitive_thread()
    async with aclosing(AsyncDriver(work, context).chunks()) as chunks:
        async for chunk in chunks:
            yield chunk


async def call_async(function: Callable[[], T]) -> T:
    """Call a function that uses the database in a thread, in the tenant and transaction of the running task."""
    context = await async_context.of_caller()
    with context.in_use():
        return await context.run(function)
