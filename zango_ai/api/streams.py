"""Responses that send a run's chunks while the run goes on, under WSGI and ASGI.

The response begins with the first chunk, so an error before it has its own HTTP status. If there is no chunk within
``HEARTBEAT_S``, the response begins with a heartbeat, and errors become events.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Iterator, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from uuid import UUID

from asgiref.sync import async_to_sync, sync_to_async
from django.core.handlers.asgi import ASGIRequest
from django.db import connections
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse

from ..agent import Agent
from ..database.writer import is_in_test_transaction
from ..models import StreamChunk
from ..runs.background import EnqueuedRun
from ..types import LLMStreamChunk
from .bodies import RunBody
from .errors import bad_request
from .pumps import DirectPump, Item, Pump, TaskPump, ThreadPump
from .stream_events import HEARTBEAT, StreamFormat

HEARTBEAT_S = 15.0
"""How long a stream may be silent. Proxies often close a connection after 30 or 60 seconds of silence."""
_HEADERS = {
    "Cache-Control": "no-store",
    "X-Accel-Buffering": "no",  # nginx passes each event on at once
    "Content-Encoding": "identity",  # GZipMiddleware would hold events back
}


@dataclass(frozen=True, slots=True)
class Source:
    """The two ways to read the same chunks. Each is called at most once."""

    chunks: Callable[[], Generator[LLMStreamChunk, None, None]]
    achunks: Callable[[], AsyncGenerator[LLMStreamChunk, None]]
    is_stored: bool = False
    """Whether the run goes on without its reader. Its errors are events: the request itself has succeeded."""

    @classmethod
    def in_threads(cls, chunks: Callable[[], Generator[LLMStreamChunk, None, None]]) -> Source:
        """Chunks that have no async form: under ASGI, a thread reads them."""
        return cls(chunks=chunks, achunks=lambda: _read_in_threads(chunks))


def source_of(agent: Agent, body: RunBody, user_ref: str) -> Source:
    """The chunks of a new run."""
    return Source(
        chunks=lambda: agent.stream(**body.arguments(), user_ref=user_ref, triggered_by="user"),
        achunks=lambda: agent.astream(**body.arguments(), user_ref=user_ref, triggered_by="user"),
    )


def stored_source(queued: EnqueuedRun, after: int = 0) -> Source:
    """The chunks of a queued run. Closing the stream does not cancel it."""
    return Source(chunks=lambda: queued.stream(after), achunks=lambda: queued.astream(after), is_stored=True)


def has_shown_error(queued: EnqueuedRun, after: int) -> bool:
    """Whether the run has failed and the client has seen the error, whose number is one more than the last chunk's.

    A browser's EventSource reconnects until it gets no content.
    """
    has_failed = queued.is_finished and queued.status not in ("success", "awaiting_approval")
    return (
        has_failed and not StreamChunk.objects.filter(invocation__run_id=queued.run_id, number__gte=after).exists()
    )


def resumed_source(
    agent: Agent, run_id: UUID, approvals: Mapping[str, bool | str], decided_by: str, *, field: str
) -> Source:
    """The chunks of a run that continues after its tool calls were decided. ``field`` has the decisions."""

    def chunks() -> Generator[LLMStreamChunk, None, None]:
        try:
            return agent.resume_stream(run_id, approvals, decided_by=decided_by)
        except ValueError as exc:
            raise bad_request(str(exc), field) from None

    async def achunks() -> AsyncGenerator[LLMStreamChunk, None]:
        async with aclosing(agent.aresume_stream(run_id, approvals, decided_by=decided_by)) as stream:
            try:
                yield await anext(stream)
            except ValueError as exc:
                raise bad_request(str(exc), field) from None
            async for chunk in stream:
                yield chunk

    return Source(chunks=chunks, achunks=achunks)


async def _read_in_threads(
    chunks: Callable[[], Generator[LLMStreamChunk, None, None]],
) -> AsyncGenerator[LLMStreamChunk, None]:
    pump = ThreadPump(await sync_to_async(chunks)())  # in the view's thread, where the tenant is active
    try:
        while (item := await sync_to_async(pump.next, thread_sensitive=False)(1.0)) is not None:
            if item != "silence":
                yield item
    finally:
        pump.close()


def respond(request: HttpRequest, source: Source, form: StreamFormat) -> HttpResponse | StreamingHttpResponse:
    """Wait for the first chunk, at most ``HEARTBEAT_S``, and return the response.

    Raises the errors until then, unless the run is stored. 204 if a stored run has no more chunks.
    """
    body: _Body | _AsyncBody
    if isinstance(request, ASGIRequest):
        body = async_to_sync(_open_in_loop)(source, form)
    else:
        chunks = source.chunks()
        body = _Body(DirectPump(chunks) if is_in_test_transaction() else ThreadPump(chunks), form)
        body.open(source)
    _release_connections()
    if body.first is None:
        body.close()
        return HttpResponse(status=204)
    return StreamingHttpResponse(body, content_type="text/event-stream", headers={**_HEADERS, **form.headers})


async def _open_in_loop(source: Source, form: StreamFormat) -> _AsyncBody:
    body = _AsyncBody(TaskPump(source.achunks()), form)
    await body.open(source)
    return body


_Outcome = Item | Exception
"""An item of the pump, or the error of the run."""


class _Body:
    def __init__(self, pump: Pump, form: StreamFormat) -> None:
        self._pump, self._form = pump, form
        self.first: _Outcome = None

    def open(self, source: Source) -> None:
        """Wait for the first item. Raises the run's error, unless the run is stored."""
        self.first = self._next()
        if isinstance(self.first, Exception) and not source.is_stored:
            raise self.first

    def _next(self) -> _Outcome:
        try:
            return self._pump.next(HEARTBEAT_S)
        except Exception as exc:
            return exc

    def __iter__(self) -> Iterator[bytes]:
        item = self.first
        yield self._form.begin() + _encoded(item, self._form)
        while not _is_last(item):
            item = self._next()
            yield _encoded(item, self._form)

    def close(self) -> None:
        """Called by the server at the end, also when the client is gone."""
        self._pump.close()


class _AsyncBody:
    def __init__(self, pump: TaskPump, form: StreamFormat) -> None:
        self._pump, self._form = pump, form
        self.first: _Outcome = None

    async def open(self, source: Source) -> None:
        """Wait for the first item. Raises the run's error, unless the run is stored."""
        try:
            self.first = await self._next()
        except BaseException:  # the client is gone
            await self._pump.stop()
            raise
        self._pump.leave_view()
        if isinstance(self.first, Exception) and not source.is_stored:
            raise self.first

    async def _next(self) -> _Outcome:
        try:
            return await self._pump.next(HEARTBEAT_S)
        except Exception as exc:
            return exc

    async def __aiter__(self) -> AsyncIterator[bytes]:
        item = self.first
        try:
            yield self._form.begin() + _encoded(item, self._form)
            while not _is_last(item):
                item = await self._next()
                yield _encoded(item, self._form)
        finally:
            await self._pump.stop()

    def close(self) -> None:
        """Called by Django at the end, in another thread. Needed if the body was never read."""
        self._pump.close()


def _is_last(item: _Outcome) -> bool:
    return item is None or isinstance(item, Exception)


def _encoded(item: _Outcome, form: StreamFormat) -> bytes:
    if item is None:
        return form.end()
    if isinstance(item, Exception):
        return form.error(item) + form.end()
    return HEARTBEAT if item == "silence" else form.chunk(item)


def _release_connections() -> None:
    """Close the request's database connections, which a stream would keep for minutes. A query opens them again."""
    for connection in connections.all(initialized_only=True):
        if not connection.in_atomic_block:
            connection.close()
