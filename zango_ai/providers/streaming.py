"""Read one answer while the model writes it.

::

    with call.stream() as stream:
        for text in stream:
            ...
    stream.answer       # the whole ModelAnswer

``AsyncAnswerStream`` is the same with ``async with`` and ``async for``.
"""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from types import TracebackType
from typing import Self

import httpx

from . import clients, errors, private_attributes
from .call_plan import CallPlan, complete, complete_async
from .clients import Client
from .streamed_answer import END, StreamedAnswer


class AnswerStream(StreamedAnswer[httpx.Client]):
    """A context manager that sends the request. Iterating gives the text as it arrives, with credentials masked.

    Entering and iterating raise what ``PreparedCall.send()`` raises. Leaving closes the connection to the vendor.
    """

    def __init__(self, call: CallPlan) -> None:
        super().__init__(call)
        self._borrowed: AbstractContextManager[Client[httpx.Client]] = clients.borrow(call.provider, call.kind)

    def __enter__(self) -> Self:
        self._start_clock()
        self._begin(self._borrowed.__enter__())
        error = self._step(self._open)
        if error is not None:
            self.__exit__(None, None, None)
            self._raise(error)
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._is_over = True
        if self._trace.stream_response is not None:
            with self._trace.active():
                self._trace.stream_response.close()
        self._borrowed.__exit__(None, None, None)

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> str:
        while not self._is_over:
            begun = len(self._pieces)
            error = self._step(self._read)
            if error is not None:
                self._is_over = True
                self._raise(error)
            if len(self._pieces) > begun:
                return self._pieces[-1]
        raise StopIteration

    def _step(self, work: Callable[[], None]) -> BaseException | None:
        """Do the work; return the error: a traceback would show frames that hold the key."""
        caught_before = sys.exception()
        try:
            with self._trace.active():
                try:
                    work()
                except BaseException as exc:
                    return self._call.error(exc, self._trace, caught_before, self._client)
        except BaseException as exc:  # a task's time limit, raised before the call or while its error was read
            return errors.without_frames(exc)
        return None

    def _open(self) -> None:
        self._reader = complete(self._arguments())
        if private_attributes.require("litellm", self._reader, "completion_stream") is None:
            private_attributes.require("litellm", self._reader, "fetch_sync_stream")()  # Gemini's request
        self._take_reader()
        self._events = iter(self._reader.completion_stream)

    def _read(self) -> None:
        self._trace.remaining()
        self._take(next(self._events, END))


class AsyncAnswerStream(StreamedAnswer[httpx.AsyncClient]):
    """The async form of ``AnswerStream``."""

    def __init__(self, call: CallPlan) -> None:
        super().__init__(call)
        self._borrowed: AbstractAsyncContextManager[Client[httpx.AsyncClient]] = clients.borrow_async(
            call.provider, call.kind
        )

    async def __aenter__(self) -> Self:
        self._start_clock()
        self._begin(await self._borrowed.__aenter__())
        error = await self._step(self._open)
        if error is not None:
            await self.__aexit__(None, None, None)
            self._raise(error)
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._is_over = True
        try:
            if self._trace.stream_response is not None:
                with self._trace.active():
                    await self._trace.stream_response.aclose()
        finally:
            await self._borrowed.__aexit__(None, None, None)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> str:
        while not self._is_over:
            begun = len(self._pieces)
            error = await self._step(self._read)
            if error is not None:
                self._is_over = True
                self._raise(error)
            if len(self._pieces) > begun:
                return self._pieces[-1]
        raise StopAsyncIteration

    async def _step(self, work: Callable[[], Awaitable[None]]) -> BaseException | None:
        """The async form of ``AnswerStream._step()``."""
        caught_before = sys.exception()
        try:
            with self._trace.active():
                try:
                    await work()
                except BaseException as exc:
                    return self._call.error(exc, self._trace, caught_before, self._client)
        except BaseException as exc:
            return errors.without_frames(exc)
        return None

    async def _open(self) -> None:
        self._reader = await complete_async(self._arguments())
        if private_attributes.require("litellm", self._reader, "completion_stream") is None:
            await private_attributes.require("litellm", self._reader, "fetch_stream")()  # Gemini's request
        self._take_reader()
        self._events = aiter(self._reader.completion_stream)

    async def _read(self) -> None:
        self._trace.remaining()
        self._take(await anext(self._events, END))
