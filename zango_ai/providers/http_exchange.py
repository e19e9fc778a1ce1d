"""One request and its response, as the sync and the async transport both handle them."""

from __future__ import annotations

import json
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

import httpcore
import httpx

from ..conf import get_conf
from . import addresses, real_calls, response_decoder
from .call_trace import CallTrace, current_trace

MAX_ANSWER_BYTES = 32 * 1024 * 1024
"""Of a decoded response body."""
MAX_ERROR_BYTES = 16 * 1024
"""Of the body of an error. The rest is not read: litellm's reading of it takes time squared in its length."""
MAX_HEADERS = 200
WRITE_BYTES = 64 * 1024
"""How much is written at once."""
_DROPPED_HEADERS = {
    *("location", "set-cookie"),  # a redirect would take the key along; a cookie would link tenants' calls
    *("content-encoding", "content-length", "transfer-encoding"),  # the body is decoded already
}
_CONTENT_KEYS = {"messages", "system", "contents", "systemInstruction", "system_instruction", "tools", "toolConfig"}


def fill_placeholders(request: httpx.Request) -> None:
    """Put the files of the current call into its request, for code that needs the whole body."""
    current_trace().placeholders.fill(request)


def add_request_hook(http: httpx.Client | httpx.AsyncClient, hook: Callable[[httpx.Request], None]) -> None:
    """Call ``hook`` with each request of the client before it is sent."""
    if isinstance(http, httpx.Client):
        http.event_hooks = {"request": [hook]}
        return

    async def call(request: httpx.Request) -> None:
        hook(request)

    http.event_hooks = {"request": [call]}


def begin(request: httpx.Request, trace: CallTrace) -> bool:
    """Complete the request, and note it on the trace. Return whether its address is in ``ALLOWED_API_BASES``."""
    trace.remaining()
    trace.status, trace.headers, trace.body, trace.unreachable = None, {}, b"", None
    trace.origin = f"{request.url.scheme}://{request.url.netloc.decode('ascii')}"
    real_calls.require_allowed(trace.origin, request.url.host)
    trace.request_params = _params_of(request)
    trace.placeholders.fill(request)
    request.headers["Accept-Encoding"] = response_decoder.ACCEPTED
    return addresses.is_listed(str(request.url), get_conf().allowed_api_bases)


def is_streamed(response: httpx.Response, trace: CallTrace) -> bool:
    """Whether the body of the response is to be read while it arrives."""
    trace.status = response.status_code
    return trace.is_stream and response.is_success


def note_headers(response: httpx.Response, trace: CallTrace) -> None:
    """Note the headers. h11 limits their size to 100 KiB, but litellm reads each repeatedly: limit their number."""
    if len(response.headers.raw) > MAX_HEADERS:
        raise response_decoder.UnreadableResponse(f"an answer with more than {MAX_HEADERS} headers")
    trace.headers = dict(response.headers)


def kept_headers(response: httpx.Response) -> list[tuple[str, str]]:
    return [(name, value) for name, value in response.headers.items() if name not in _DROPPED_HEADERS]


def answer(response: httpx.Response, trace: CallTrace, content: bytes) -> httpx.Response:
    """The response that litellm gets, with its whole body."""
    trace.body = content
    if response.is_success:
        content = trace.unreadable_arguments.replace(content)
    return httpx.Response(response.status_code, headers=kept_headers(response), content=content)


class Body:
    """The whole body, decoded, up to ``MAX_ANSWER_BYTES``; of an error's body the first ``MAX_ERROR_BYTES``."""

    def __init__(self, response: httpx.Response) -> None:
        encoding = response.headers.get("Content-Encoding", "")
        self._decoder = response_decoder.Decoder(encoding, MAX_ANSWER_BYTES, response_decoder.MAX_PIECES)
        self._is_error = response.status_code >= 300
        self._content = bytearray()

    def add(self, data: bytes) -> bool:
        """Add data from the network. Return whether to read on."""
        for piece in self._decoder.decode(data):
            self._content += piece
            if self._is_error and len(self._content) >= MAX_ERROR_BYTES:
                return False
        return True

    def finish(self, *, is_whole: bool) -> bytes:
        """``is_whole``: whether all data has arrived."""
        if not is_whole:
            return bytes(self._content[:MAX_ERROR_BYTES])
        self._decoder.finish()
        return bytes(self._content)


def unknown_host(host: str, port: int) -> httpcore.ConnectError:
    """The error if no address is known for the host name."""
    current_trace().unreachable = f"no address is known for the host name {host} (port {port})"
    return httpcore.ConnectError(f"{host} is not known")


def require_allowed(found: list[str], host: str, *, public_only: bool) -> None:
    """Check every address of the host. Raises ConnectError for one inside the host's network."""
    if public_only and any(addresses.is_inside(address) for address in found):
        trace = current_trace()
        trace.refusal = addresses.refusal(host, trace.origin, get_conf().allowed_api_bases)
        raise httpcore.ConnectError(trace.refusal)


def note_unreachable(exc: Exception, host: str, port: int) -> None:
    """Note that no address of the host could be connected to; ``exc`` is the error of the last one."""
    trace = current_trace()
    trace.timed_out = isinstance(exc, httpcore.ConnectTimeout)
    trace.unreachable = f"{_connection_problem(exc)} ({host}, port {port})"


def _connection_problem(exc: Exception) -> str:
    if isinstance(exc, httpcore.ConnectTimeout):
        return "the connection timed out"
    cause: BaseException | None = exc
    while cause is not None:
        if isinstance(cause, ConnectionRefusedError):
            return "the server refused the connection"
        cause = cause.__cause__
    return "the connection failed"


@contextmanager
def noting_timeouts() -> Iterator[None]:
    try:
        yield
    except httpcore.TimeoutException:
        current_trace().timed_out = True
        raise


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
