"""The HTTP transport for async calls to vendors. ``transport`` says what it checks and limits."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import ssl
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

import httpcore
import httpx

from . import http_exchange, network_guard, private_attributes
from .call_trace import CallTrace, current_trace
from .connection_pool import AsyncPool
from .http_exchange import noting_timeouts
from .streamed_body import AsyncStreamedBody


class _Stream(httpcore.AsyncNetworkStream):
    """A socket that waits no longer than the current call may last."""

    def __init__(self, inner: httpcore.AsyncNetworkStream) -> None:
        self._inner = inner

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        with noting_timeouts():
            return await self._inner.read(max_bytes, current_trace().remaining())

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        with noting_timeouts():
            current_trace().is_sent = True
            for start in range(0, len(buffer), http_exchange.WRITE_BYTES):
                piece = buffer[start : start + http_exchange.WRITE_BYTES]
                await self._inner.write(piece, current_trace().remaining())

    async def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.AsyncNetworkStream:
        with noting_timeouts():
            return _Stream(await self._inner.start_tls(ssl_context, server_hostname, current_trace().remaining()))

    async def aclose(self) -> None:
        await self._inner.aclose()

    def get_extra_info(self, info: str) -> Any:
        return self._inner.get_extra_info(info)


class _Backend(httpcore.AsyncNetworkBackend):
    """Resolves a name, checks every address, and connects only to an address that it has checked."""

    def __init__(self, *, public_only: bool) -> None:
        self._inner = httpcore.AnyIOBackend()
        self._public_only = public_only

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        trace = current_trace()
        found = await self._checked_addresses(host, port)
        for position, address in enumerate(found):
            # An address that does not answer must leave time for the next one.
            share = trace.remaining() / (len(found) - position)
            try:
                with network_guard.lifted():
                    connection = await self._inner.connect_tcp(address, port, share, local_address, socket_options)
                return _Stream(connection)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as exc:
                if position + 1 == len(found):
                    http_exchange.note_unreachable(exc, host, port)
                    raise
        raise httpcore.ConnectError(f"{host} has no address")

    async def _checked_addresses(self, host: str, port: int) -> list[str]:
        try:
            found = await _resolve(host, port)
        except TimeoutError as exc:
            current_trace().timed_out = True
            raise httpcore.ConnectTimeout("The time for this call is over.") from exc
        except OSError as exc:
            raise http_exchange.unknown_host(host, port) from exc
        http_exchange.require_allowed(found, host, public_only=self._public_only)
        return found


async def _resolve(host: str, port: int) -> list[str]:
    """Every address of ``host``. A name is looked up in a thread of the event loop's executor."""
    with suppress(ValueError):
        return [str(ipaddress.ip_address(host))]
    loop = asyncio.get_running_loop()
    with network_guard.lifted():
        async with asyncio.timeout(current_trace().remaining()):
            found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


class _Pool(httpx.AsyncHTTPTransport):
    """httpx's transport with a connection pool that uses ``_Backend``."""

    def __init__(self, *, public_only: bool) -> None:
        super().__init__(verify=http_exchange.tls_context())
        private_attributes.require("httpx", self, "_pool")
        self._pool = AsyncPool(
            network_backend=_Backend(public_only=public_only), ssl_context=http_exchange.tls_context()
        )


class _Transport(httpx.AsyncBaseTransport):
    def __init__(self) -> None:
        # Two pools: a connection into the host's network is never reused for an address that is not allowed.
        self._public, self._listed = _Pool(public_only=True), _Pool(public_only=False)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        trace = current_trace()
        is_listed = http_exchange.begin(request, trace)
        response = await (self._listed if is_listed else self._public).handle_async_request(request)
        if http_exchange.is_streamed(response, trace):
            return await self._streamed(response, trace)
        try:
            with trace.noting_read_errors():
                http_exchange.note_headers(response, trace)
                content = await _read(response)
        finally:
            await response.aclose()
        return http_exchange.answer(response, trace, content)

    async def _streamed(self, response: httpx.Response, trace: CallTrace) -> httpx.Response:
        """The response with a body that is read as it is iterated."""
        try:
            with trace.noting_read_errors():
                http_exchange.note_headers(response, trace)
                body = AsyncStreamedBody(response, trace, http_exchange.MAX_ANSWER_BYTES)
        except BaseException:
            await response.aclose()
            raise
        trace.stream_response = response
        return httpx.Response(response.status_code, headers=http_exchange.kept_headers(response), stream=body)

    async def aclose(self) -> None:
        await self._public.aclose()
        await self._listed.aclose()


async def _read(response: httpx.Response) -> bytes:
    body = http_exchange.Body(response)
    async for data in response.aiter_raw():
        if not body.add(data):
            return body.finish(is_whole=False)
    return body.finish(is_whole=True)


def new_client() -> httpx.AsyncClient:
    """A client that sends within the current ``CallTrace``, on the event loop that uses it first."""
    # _Stream keeps the deadline of the whole call; httpx's timeout is per read.
    return httpx.AsyncClient(transport=_Transport(), timeout=None, trust_env=False)  # noqa: S113
