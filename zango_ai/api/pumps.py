"""Read the chunks of a run apart from the response, so that the response can wait for the next one with a limit.

Under WSGI a thread reads, under ASGI a task. A pump reads ahead; a run's own limits bound what it holds.
"""

from __future__ import annotations

import asyncio
import contextvars
import queue
import threading
from collections.abc import AsyncGenerator, Generator
from contextlib import aclosing, closing, suppress
from dataclasses import dataclass
from typing import Literal, Protocol

from asgiref.sync import AsyncToSync
from django.db import connections

from .. import interruption
from ..types import LLMStreamChunk

Item = LLMStreamChunk | Literal["silence"] | None
"""``silence``: no chunk has arrived within the time limit. None: there are no more chunks."""


@dataclass(frozen=True, slots=True)
class _End:
    """The end of the chunks."""

    error: BaseException | None = None


class Pump(Protocol):
    """What a response reads."""

    def next(self, timeout_s: float) -> Item:
        """Wait for the next chunk. Raises the error of the run."""
        ...

    def close(self) -> None:
        """Cancel the run, unless it has ended. Does not wait."""
        ...


class DirectPump:
    """Reads in the calling thread, without a time limit: other threads cannot see a test's transaction."""

    def __init__(self, chunks: Generator[LLMStreamChunk, None, None]) -> None:
        self._chunks = chunks

    def next(self, timeout_s: float) -> Item:
        return next(self._chunks, None)

    def close(self) -> None:
        self._chunks.close()


class ThreadPump:
    """Reads in a thread of its own, with database connections of its own.

    After ``close()``, the thread stops within a second, also while the provider is silent. A tool is not
    interrupted.
    """

    def __init__(self, chunks: Generator[LLMStreamChunk, None, None]) -> None:
        self._items: queue.SimpleQueue[LLMStreamChunk | _End] = queue.SimpleQueue()
        self._chunks = chunks
        self._interruption = threading.Event()
        context = contextvars.copy_context()
        # Not a daemon: a server that stops lets the run end, so that its row is settled.
        threading.Thread(target=context.run, args=(self._read,), name="zango-ai-stream").start()

    def _read(self) -> None:
        end = _End()
        try:
            with interruption.by(self._interruption), closing(self._chunks):
                for chunk in self._chunks:
                    self._items.put(chunk)
                    if self._interruption.is_set():
                        break
        except BaseException as exc:
            end = _End(exc)
        finally:
            connections.close_all()
            self._items.put(end)

    def next(self, timeout_s: float) -> Item:
        try:
            item = self._items.get(timeout=timeout_s)
        except queue.Empty:
            return "silence"
        return _chunk_of(item)

    def close(self) -> None:
        self._interruption.set()


class TaskPump:
    """Reads in a task of the running event loop."""

    def __init__(self, chunks: AsyncGenerator[LLMStreamChunk, None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._items: asyncio.Queue[LLMStreamChunk | _End] = asyncio.Queue()
        self._context = contextvars.copy_context()
        self._task = self._loop.create_task(self._read(chunks), context=self._context)

    def leave_view(self) -> None:
        """Call it before the view returns.

        Until now, asgiref has sent the task's thread-sensitive calls to the view's thread, which waits for them.
        """
        self._context.run(setattr, AsyncToSync.executors, "current", None)

    async def _read(self, chunks: AsyncGenerator[LLMStreamChunk, None]) -> None:
        end = _End()
        try:
            async with aclosing(chunks):
                async for chunk in chunks:
                    self._items.put_nowait(chunk)
        except Exception as exc:
            end = _End(exc)
        self._items.put_nowait(end)

    async def next(self, timeout_s: float) -> Item:
        """Wait for the next chunk. Raises the error of the run."""
        try:
            async with asyncio.timeout(timeout_s):
                item = await self._items.get()
        except TimeoutError:
            return "silence"
        return _chunk_of(item)

    async def stop(self) -> None:
        """Cancel the run, unless it has ended, and wait until its row is settled."""
        self._task.cancel()
        await asyncio.wait({self._task})

    def close(self) -> None:
        """Cancel the run from any thread, unless it has ended. Does not wait."""
        with suppress(RuntimeError):  # the loop is closed, and the task with it
            self._loop.call_soon_threadsafe(self._task.cancel)


def _chunk_of(item: LLMStreamChunk | _End) -> LLMStreamChunk | None:
    if isinstance(item, LLMStreamChunk):
        return item
    if item.error is not None:
        raise item.error
    return None
