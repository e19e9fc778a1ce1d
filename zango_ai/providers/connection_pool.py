"""Pools of HTTP connections whose work per request does not grow with the number of connections.

httpcore's own pools look at every connection before and after each request. They also count busy connections as
idle, so with more than ``max_keepalive_connections`` of them, each is closed after one request.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator
from typing import Any, Generic, TypeVar

import httpcore

Connection = TypeVar("Connection", httpcore.ConnectionInterface, httpcore.AsyncConnectionInterface)

MAX_IDLE = 200
"""Idle connections of one pool. More are closed."""
IDLE_S = 60.0
"""An idle connection is closed after this time, at the next use of the pool."""
_SCHEMES = (b"http", b"https")


class _Connections(Generic[Connection]):
    """The connections of a pool: those in use, and the idle ones in the order in which they became idle."""

    def __init__(self) -> None:
        self._idle: deque[tuple[Connection, float]] = deque()
        self._in_use: set[Connection] = set()
        self._is_closed = False
        self._lock = threading.Lock()

    def take(self, origin: httpcore.Origin) -> tuple[Connection | None, list[Connection]]:
        """The connection to the origin that was used last, and connections to close."""
        unusable, others, found = [], [], None
        with self._lock:
            while self._idle and found is None:
                connection, since = self._idle.pop()
                if connection.has_expired():  # asks the operating system whether the server has closed it
                    unusable.append(connection)
                elif connection.can_handle_request(origin):
                    found = connection
                else:
                    others.append((connection, since))
            self._idle.extend(reversed(others))
        return found, unusable

    def use(self, connection: Connection) -> None:
        with self._lock:
            self._in_use.add(connection)

    def give_back(self, connection: Connection) -> list[Connection]:
        """Keep the connection if it can be used again. Return connections to close."""
        now = time.monotonic()
        with self._lock:
            self._in_use.discard(connection)
            if self._is_closed or connection.is_closed() or not connection.is_idle():
                return [connection]
            self._idle.append((connection, now))
            if len(self._idle) > MAX_IDLE or self._idle[0][1] < now - IDLE_S:
                return [self._idle.popleft()[0]]
        return []

    def take_all(self) -> list[Connection]:
        """All connections, to close them with the pool. Those in use are closed later again, which does nothing."""
        with self._lock:
            self._is_closed = True
            connections: list[Connection] = list(self._in_use)
            connections += [connection for connection, _ in self._idle]
            self._idle.clear()
        return connections


class Pool(httpcore.ConnectionPool):
    """A pool without a limit of connections in use. Closing a response gives its connection back."""

    def __init__(self, **options: Any) -> None:
        super().__init__(keepalive_expiry=IDLE_S, **options)
        self._all: _Connections[httpcore.ConnectionInterface] = _Connections()

    def handle_request(self, request: httpcore.Request) -> httpcore.Response:
        origin = _origin_of(request)
        found, unusable = self._all.take(origin)
        _close(unusable)
        connection = found or self.create_connection(origin)
        self._all.use(connection)
        try:
            response = connection.handle_request(request)
        except BaseException:
            _close(self._all.give_back(connection))
            raise
        return _with_body(response, _Body(response.stream, lambda: _close(self._all.give_back(connection))))

    def close(self) -> None:
        _close(self._all.take_all())
        super().close()


def _close(connections: Iterable[httpcore.ConnectionInterface]) -> None:
    for connection in connections:
        connection.close()


class _Body:
    """The body of a response. Closing it gives the connection back to the pool."""

    def __init__(self, stream: Any, give_back: Callable[[], None]) -> None:
        self._stream, self._give_back = stream, give_back
        self._is_closed = False

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._stream)

    def close(self) -> None:
        if not self._is_closed:
            self._is_closed = True
            try:
                self._stream.close()
            finally:
                self._give_back()


class AsyncPool(httpcore.AsyncConnectionPool):
    """The async form of ``Pool``."""

    def __init__(self, **options: Any) -> None:
        super().__init__(keepalive_expiry=IDLE_S, **options)
        self._all: _Connections[httpcore.AsyncConnectionInterface] = _Connections()

    async def handle_async_request(self, request: httpcore.Request) -> httpcore.Response:
        origin = _origin_of(request)
        found, unusable = self._all.take(origin)
        await _close_async(unusable)
        connection = found or self.create_connection(origin)
        self._all.use(connection)
        try:
            response = await connection.handle_async_request(request)
        except BaseException:
            await _close_async(self._all.give_back(connection))
            raise
        return _with_body(response, _AsyncBody(response.stream, connection, self._all))

    async def aclose(self) -> None:
        await _close_async(self._all.take_all())
        await super().aclose()


async def _close_async(connections: Iterable[httpcore.AsyncConnectionInterface]) -> None:
    for connection in connections:
        await connection.aclose()


class _AsyncBody:
    """The async form of ``_Body``."""

    def __init__(
        self,
        stream: Any,
        connection: httpcore.AsyncConnectionInterface,
        connections: _Connections[httpcore.AsyncConnectionInterface],
    ) -> None:
        self._stream, self._connection, self._all = stream, connection, connections
        self._is_closed = False

    def __aiter__(self) -> AsyncIterator[bytes]:
        return aiter(self._stream)

    async def aclose(self) -> None:
        if not self._is_closed:
            self._is_closed = True
            try:
                await self._stream.aclose()
            finally:
                await _close_async(self._all.give_back(self._connection))


def _origin_of(request: httpcore.Request) -> httpcore.Origin:
    if request.url.scheme not in _SCHEMES:
        raise httpcore.UnsupportedProtocol("The address of a request must begin with http:// or https://.")
    return request.url.origin


def _with_body(response: httpcore.Response, body: Iterable[bytes] | AsyncIterable[bytes]) -> httpcore.Response:
    return httpcore.Response(
        status=response.status, headers=response.headers, content=body, extensions=response.extensions
    )
