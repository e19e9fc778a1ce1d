"""The HTTP transport for calls to vendors: where connections may lead, and how long a call may take.

litellm gets an HTTP client of ours for every vendor. It checks the address when it connects, so a second DNS answer
changes nothing. It follows no redirect, uses no proxy and keeps no cookie. Its deadline is by the wall clock: a
server that sends one byte per second does not keep a run waiting.

``async_transport`` does the same for async calls. What both do with a request and its response is in
``http_exchange``.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterable
from typing import Any

import httpcore
import httpx

from .. import interruption
from . import addresses, http_exchange, network_guard, private_attributes
from .call_trace import CallTrace, current_trace
from .connection_pool import Pool
from .http_exchange import noting_timeouts
from .streamed_body import StreamedBody


class _Stream(httpcore.NetworkStream):
    """A socket that waits no longer than the current call may last."""

    def __init__(self, inner: httpcore.NetworkStream) -> None:
        self._inner = inner

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        with noting_timeouts():
            return interruption.wait(
                lambda seconds: self._inner.read(max_bytes, seconds),
                current_trace().remaining,
                httpcore.ReadTimeout,
            )

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        # In pieces: the inner write() starts the timeout anew for each of its own sends.
        with noting_timeouts():
            interruption.check()
            current_trace().is_sent = True
            for start in range(0, len(buffer), http_exchange.WRITE_BYTES):
                piece = buffer[start : start + http_exchange.WRITE_BYTES]
                self._inner.write(piece, current_trace().remaining())

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        with noting_timeouts():
            return _Stream(self._inner.start_tls(ssl_context, server_hostname, current_trace().remaining()))

    def close(self) -> None:
        self._inner.close()

    def get_extra_info(self, info: str) -> Any:
        return self._inner.get_extra_info(info)


class _Backend(httpcore.NetworkBackend):
    """Resolves a name, checks every address, and connects only to an address that it has checked."""

    def __init__(self, *, public_only: bool) -> None:
        self._inner = httpcore.SyncBackend()
        self._public_only = public_only

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        trace = current_trace()
        found = self._checked_addresses(host, port)
        for position, address in enumerate(found):
            # An address that does not answer must leave time for the next one.
            share = trace.remaining() / (len(found) - position)
            try:
                with network_guard.lifted():
                    connection = self._inner.connect_tcp(address, port, share, local_address, socket_options)
                return _Stream(connection)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as exc:
                if position + 1 == len(found):
                    http_exchange.note_unreachable(exc, host, port)
                    raise
        raise httpcore.ConnectError(f"{host} has no address")

    def _checked_addresses(self, host: str, port: int) -> list[str]:
        try:
            with network_guard.lifted():
                found = addresses.resolve(host, port)
        except OSError as exc:
            raise http_exchange.unknown_host(host, port) from exc
        http_exchange.require_allowed(found, host, public_only=self._public_only)
        return found


class _Pool(httpx.HTTPTransport):
    """httpx's transport with a connection pool that uses ``_Backend``."""

    def __init__(self, *, public_only: bool) -> None:
        super().__init__(verify=http_exchange.tls_context())
        private_attributes.require("httpx", self, "_pool").close()
        self._pool = Pool(
            network_backend=_Backend(public_only=public_only), ssl_context=http_exchange.tls_context()
        )


class _Transport(httpx.BaseTransport):
    def __init__(self) -> None:
        # Two pools: a connection into the host's network is never reused for an address that is not allowed.
        self._public, self._listed = _Pool(public_only=True), _Pool(public_only=False)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        trace = current_trace()
        is_listed = http_exchange.begin(request, trace)
        response = (self._listed if is_listed else self._public).handle_request(request)
        if http_exchange.is_streamed(response, trace):
            return self._streamed(response, trace)
        try:
            with trace.noting_read_errors():
                http_exchange.note_headers(response, trace)
                content = _read(response)
        finally:
            response.close()
        return http_exchange.answer(response, trace, content)

    def _streamed(self, response: httpx.Response, trace: CallTrace) -> httpx.Response:
        """The response with a body that is read as it is iterated."""
        try:
            with trace.noting_read_errors():
                http_exchange.note_headers(response, trace)
                body = StreamedBody(response, trace, http_exchange.MAX_ANSWER_BYTES)
        except BaseException:
            response.close()
            raise
        trace.stream_response = response
        return httpx.Response(response.status_code, headers=http_exchange.kept_headers(response), stream=body)

    def close(self) -> None:
        self._public.close()
        self._listed.close()


def _read(response: httpx.Response) -> bytes:
    body = http_exchange.Body(response)
    for data in response.iter_raw():
        if not body.add(data):
            return body.finish(is_whole=False)
    return body.finish(is_whole=True)


def new_client() -> httpx.Client:
    """A client that sends within the current ``CallTrace``."""
    # _Stream keeps the deadline of the whole call; httpx's timeout is per read.
    return httpx.Client(transport=_Transport(), timeout=None, trust_env=False)  # noqa: S113
