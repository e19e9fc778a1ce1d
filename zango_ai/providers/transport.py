"""The HTTP transport for calls to vendors: where connections may lead, and how long a call may take.

litellm gets an HTTP client of ours for every vendor. It checks the address when it connects, so a second DNS answer
changes nothing. It follows no redirect, uses no proxy and keeps no cookie. Its deadline is by the wall clock: a
server that sends one byte per second does not keep a run waiting.
"""

from __future__ import annotations

import json
import ssl
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

import httpcore
import httpx

from ..conf import get_conf
from . import addresses, network_guard, private_attributes, response_decoder
from .call_trace import CallTrace, current_trace
from .streamed_body import StreamedBody

MAX_ANSWER_BYTES = 32 * 1024 * 1024
"""Of a decoded response body."""
MAX_ERROR_BYTES = 16 * 1024
"""Of the body of an error. The rest is not read: litellm's reading of it takes time squared in its length."""
MAX_HEADERS = 200
_PIECE = 64 * 1024
_DROPPED_HEADERS = {
    *("location", "set-cookie"),  # a redirect would take the key along; a cookie would link tenants' calls
    *("content-encoding", "content-length", "transfer-encoding"),  # the body is decoded already
}
_CONTENT_KEYS = {"messages", "system", "contents", "systemInstruction", "system_instruction", "tools", "toolConfig"}


def fill_placeholders(request: httpx.Request) -> None:
    """Put the files of the current call into its request, for code that needs the whole body."""
    current_trace().placeholders.fill(request)


class _Stream(httpcore.NetworkStream):
    """A socket that waits no longer than the current call may last."""

    def __init__(self, inner: httpcore.NetworkStream) -> None:
        self._inner = inner

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        with _noting_timeouts():
            return self._inner.read(max_bytes, current_trace().remaining())

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        # In pieces: the inner write() starts the timeout anew for each of its own sends.
        with _noting_timeouts():
            current_trace().is_sent = True
            for start in range(0, len(buffer), _PIECE):
                self._inner.write(buffer[start : start + _PIECE], current_trace().remaining())

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        with _noting_timeouts():
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
                    trace.timed_out = isinstance(exc, httpcore.ConnectTimeout)
                    trace.unreachable = f"{_connection_problem(exc)} ({host}, port {port})"
                    raise
        raise httpcore.ConnectError(f"{host} has no address")

    def _checked_addresses(self, host: str, port: int) -> list[str]:
        try:
            with network_guard.lifted():
                found = addresses.resolve(host, port)
        except OSError as exc:
            current_trace().unreachable = f"no address is known for the host name {host} (port {port})"
            raise httpcore.ConnectError(f"{host} is not known") from exc
        if self._public_only and any(addresses.is_inside(address) for address in found):
            trace = current_trace()
            trace.refusal = addresses.refusal(host, trace.origin, get_conf().allowed_api_bases)
            raise httpcore.ConnectError(trace.refusal)
        return found


def _connection_problem(exc: Exception) -> str:
    if isinstance(exc, httpcore.ConnectTimeout):
        return "the connection timed out"
    is_refused = isinstance(exc.__cause__, ConnectionRefusedError)
    return "the server refused the connection" if is_refused else "the connection failed"


@contextmanager
def _noting_timeouts() -> Iterator[None]:
    try:
        yield
    except httpcore.TimeoutException:
        current_trace().timed_out = True
        raise


class _Pool(httpx.HTTPTransport):
    """httpx's transport with a connection pool that uses ``_Backend``."""

    def __init__(self, *, public_only: bool) -> None:
        super().__init__(verify=tls_context())
        private_attributes.require("httpx", self, "_pool").close()
        self._pool = httpcore.ConnectionPool(
            ssl_context=tls_context(),
            max_connections=None,
            max_keepalive_connections=50,
            keepalive_expiry=60.0,
            network_backend=_Backend(public_only=public_only),
        )


class _Transport(httpx.BaseTransport):
    def __init__(self) -> None:
        # Two pools: a connection into the host's network is never reused for an address that is not allowed.
        self._public, self._listed = _Pool(public_only=True), _Pool(public_only=False)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        trace = current_trace()
        trace.remaining()
        trace.status, trace.headers, trace.body, trace.unreachable = None, {}, b"", None
        trace.origin = f"{request.url.scheme}://{request.url.netloc.decode('ascii')}"
        trace.request_params = _params_of(request)
        trace.placeholders.fill(request)
        is_listed = addresses.is_listed(str(request.url), get_conf().allowed_api_bases)
        request.headers["Accept-Encoding"] = response_decoder.ACCEPTED
        response = (self._listed if is_listed else self._public).handle_request(request)
        trace.status = response.status_code
        if trace.is_stream and response.is_success:
            return self._streamed(response, trace)
        try:
            with trace.noting_read_errors():
                trace.headers = _headers_of(response)
                content = trace.body = _read(response)
        finally:
            response.close()
        if response.is_success:
            content = trace.unreadable_arguments.replace(content)
        return httpx.Response(response.status_code, headers=_kept_headers(response), content=content)

    def _streamed(self, response: httpx.Response, trace: CallTrace) -> httpx.Response:
        """The response with a body that is read as it is iterated."""
        try:
            with trace.noting_read_errors():
                trace.headers = _headers_of(response)
                body = StreamedBody(response, trace, MAX_ANSWER_BYTES)
        except BaseException:
            response.close()
            raise
        trace.stream_response = response
        return httpx.Response(response.status_code, headers=_kept_headers(response), stream=body)

    def close(self) -> None:
        self._public.close()
        self._listed.close()


def _headers_of(response: httpx.Response) -> Mapping[str, str]:
    """The headers. h11 limits their size to 100 KiB, but litellm reads each repeatedly: limit their number."""
    if len(response.headers.raw) > MAX_HEADERS:
        raise response_decoder.UnreadableResponse(f"an answer with more than {MAX_HEADERS} headers")
    return dict(response.headers)


def _kept_headers(response: httpx.Response) -> list[tuple[str, str]]:
    return [(name, value) for name, value in response.headers.items() if name not in _DROPPED_HEADERS]


def _read(response: httpx.Response) -> bytes:
    """The whole body, decoded, up to ``MAX_ANSWER_BYTES``; of an error's body the first ``MAX_ERROR_BYTES``."""
    encoding = response.headers.get("Content-Encoding", "")
    decoder = response_decoder.Decoder(encoding, MAX_ANSWER_BYTES, response_decoder.MAX_PIECES)
    is_error = response.status_code >= 300
    content = bytearray()
    for data in response.iter_raw():
        for piece in decoder.decode(data):
            content += piece
            if is_error and len(content) >= MAX_ERROR_BYTES:
                return bytes(content[:MAX_ERROR_BYTES])
    decoder.finish()
    return bytes(content)


def _params_of(request: httpx.Request) -> dict[str, Any]:
    """The body without messages and tools."""
    if request.method != "POST":
        return {}
    try:
        body = json.loads(request.content)
    except (ValueError, httpx.RequestNotRead):
        return {}
    return {key: value for key, value in body.items() if key not in _CONTENT_KEYS}


@lru_cache(maxsize=1)
def tls_context() -> ssl.SSLContext:
    """The certificate authorities that vendors are checked by."""
    return httpx.create_ssl_context()


def new_client() -> httpx.Client:
    """A client that sends within the current ``CallTrace``."""
    # _Stream keeps the deadline of the whole call; httpx's timeout is per read.
    return httpx.Client(transport=_Transport(), timeout=None, trust_env=False)  # noqa: S113
