"""Read the stored chunks of a run, while it works or afterwards.

A reader waits for a notification, and looks by itself from time to time. ``round_end`` and ``final`` of the last
round are not stored: they follow from the run's row.
"""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from collections.abc import AsyncGenerator, Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing, suppress
from typing import Any, TypeVar
from uuid import UUID

from asgiref.sync import sync_to_async

from .. import argument_checks, interruption, tenancy
from ..database import notifications, writer
from ..exceptions import RunNotFinished
from ..ledger import maintenance, stored_chunks
from ..ledger.stored_chunks import Page
from ..ledger.stored_runs import STOPPED, Status
from ..types import LLMResponse, LLMStreamChunk

T = TypeVar("T")


def _reader_thread() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(1, thread_name_prefix="zango_ai reader")


_FIRST_POLL_S, _MAX_POLL_S = 0.25, 1.0
_ASYNC_READERS = _reader_thread()
"""The thread in which all async readers of the process query the database, which takes about a millisecond each."""
_async_readers: set[object] = set()


def _reset_after_fork() -> None:
    """The thread and the readers belong to the parent process."""
    global _ASYNC_READERS
    _ASYNC_READERS = _reader_thread()
    _async_readers.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_reset_after_fork)


class StreamReader:
    """Reads one run from the chunk after ``after`` on. Every method queries the database."""

    def __init__(self, schema: str, run_id: UUID, after: int, response: Callable[[], LLMResponse[Any]]) -> None:
        """``response`` returns the response of a run that has ended, or raises its error."""
        argument_checks.require(after, int, "after", "the number of the last chunk that was read, or 0")
        if isinstance(after, bool) or after < 0:
            raise ValueError(f"after is {after!r}; pass the number of the last chunk that was read, or 0.")
        self.topic = notifications.topic(schema, run_id)
        self.is_over = False
        self.pause_s = 0.0
        """How long to wait for a notification before the next call of ``read()``."""
        self._schema, self._run_id, self._after, self._response = schema, run_id, after, response

    def read(self) -> list[LLMStreamChunk]:
        """The chunks that were written since the last call. Raises the error of a run that has failed."""
        page = stored_chunks.read(self._schema, self._run_id, self._after)
        if page is None:
            self._response()  # raises RunNotFound
            return []
        chunks = page.chunks
        if page.is_silent:
            maintenance.abandon_orphans(self._schema)  # now, because nobody may have scheduled maintenance
        if not chunks and page.status in STOPPED:
            chunks = self._last_chunks(page)
        if chunks:
            self._after = chunks[-1].number
        self._set_pause(has_more=bool(chunks))
        return chunks

    def _set_pause(self, *, has_more: bool) -> None:
        if has_more:
            self.pause_s = 0.0
        else:
            self.pause_s = min(max(self.pause_s * 1.5, _FIRST_POLL_S), _MAX_POLL_S)

    def _last_chunks(self, page: Page) -> list[LLMStreamChunk]:
        """The chunks that follow from the run's row. None of them if the run has been resumed since."""
        try:
            response = self._response()
        except RunNotFinished:
            return []
        if page.status == Status.AWAITING_APPROVAL and not response.pending_approvals:
            return []
        self.is_over = True
        chunks = self._end_of(page, response) if page.last_number else self._whole(response)
        return [chunk for chunk in chunks if chunk.number > self._after]

    def _end_of(self, page: Page, response: LLMResponse) -> Iterator[LLMStreamChunk]:
        number = page.last_number + 1
        if page.status == Status.SUCCESS:
            yield LLMStreamChunk(type="round_end", number=number)
            number += 1
        yield LLMStreamChunk(type="final", number=number, response=response)

    def _whole(self, response: LLMResponse) -> Iterator[LLMStreamChunk]:
        """The chunks of a run that was not streamed, or whose chunks have been deleted. Their numbers never change:
        a reader that has seen all of them gets none."""
        if response.content:
            yield LLMStreamChunk(type="text", number=1, text=response.content)
        yield LLMStreamChunk(type="final", number=2, response=response)


def read_stream(reader: StreamReader) -> Generator[LLMStreamChunk[Any], None, None]:
    yield from reader.read()
    if reader.is_over:
        return
    woken = threading.Event()
    with notifications.waking(reader.topic, woken.set):
        while not reader.is_over:
            woken.clear()
            interruption.check()
            yield from reader.read()
            if not reader.is_over and reader.pause_s:
                woken.wait(reader.pause_s)


async def aread_stream(reader: StreamReader) -> AsyncGenerator[LLMStreamChunk[Any], None]:
    """Like ``read_stream()``, without a thread for each reader."""
    is_in_test = await _is_in_test_transaction()
    _async_readers.add(reader)
    try:
        async with aclosing(_aread(reader, None if is_in_test else _ASYNC_READERS)) as chunks:
            async for chunk in chunks:
                yield chunk
    finally:
        _async_readers.discard(reader)
        if not _async_readers and not is_in_test:
            _ASYNC_READERS.submit(lambda: tenancy.connection().close())


async def _aread(reader: StreamReader, executor: ThreadPoolExecutor | None) -> AsyncGenerator[LLMStreamChunk, None]:
    for chunk in await _in_thread(reader.read, executor):
        yield chunk
    if reader.is_over:
        return
    woken, loop = asyncio.Event(), asyncio.get_running_loop()

    def wake() -> None:
        with suppress(RuntimeError):  # the loop has been closed
            loop.call_soon_threadsafe(woken.set)

    with notifications.waking(reader.topic, wake):
        while not reader.is_over:
            woken.clear()
            for chunk in await _in_thread(reader.read, executor):
                yield chunk
            if not reader.is_over and reader.pause_s:
                with suppress(TimeoutError):
                    await asyncio.wait_for(woken.wait(), reader.pause_s)


async def _is_in_test_transaction() -> bool:
    """Only the thread that runs the test can tell. Django gives each request a thread of its own for such calls, so
    without a test none is made."""
    if "django.test.testcases" not in sys.modules:
        return False
    return await sync_to_async(writer.is_in_test_transaction)()


async def _in_thread(work: Callable[[], T], executor: ThreadPoolExecutor | None) -> T:
    return await sync_to_async(work, thread_sensitive=executor is None, executor=executor)()
