"""The connections to the vendors: where they may lead, how long they may take, what went over them.

litellm is given an HTTP client of ours for every vendor. It looks at the address when the connection is made (so
a second DNS answer changes nothing), follows no redirect, reads no proxy and no cookie, and measures the time
by the wall clock: a server that sends a byte a second does not keep a run waiting.
"""

from __future__ import annotations

import json
import ssl
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import httpcore
import httpx

from ..conf import get_conf
from . import addresses, decoding, network_guard, private
from .attachments import Placeholders
from .withheld import Withheld

MAX_ANSWER_BYTES = 32 * 1024 * 1024
"""Of an answer, decoded."""
MAX_ERROR_BYTES = 16 * 1024
"""Of the body of an error, whose rest is not read: litellm's own reading of it takes time squared in its length."""
MAX_HEADERS = 200
_PIECE = 64 * 1024
_DROPPED = {
    *("location", "set-cookie"),  # whoever follows takes the key along; a cookie would join runs together
    *("content-encoding", "content-length", "transfer-encoding"),  # of the body as it came
}
_CONTENT_KEYS = {"messages", "system", "contents", "systemInstruction", "system_instruction", "tools", "toolConfig"}


@dataclass(slots=True)
class Call:
    """One call to a vendor, and what is learned of it on the way."""

    deadline: float
    """On the clock of ``time.monotonic()``."""
    attachments: Placeholders = field(default_factory=Placeholders)
    """The files that go along."""
    withheld: Withheld = field(default_factory=Withheld)
    """Parts of the answer that litellm cannot read."""
    request_params: dict[str, Any] = field(default_factory=dict)
    """The body that was sent, without messages and tools."""
    status: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = field(default=b"", repr=False)
    """The answer as it came, for the vendor's words where it is an error."""
    is_sent: bool = False
    """Something of the request has gone over the wire."""
    refusal: str | None = None
    """Set where the address leads into the host's network."""
    timed_out: bool = False
    is_broken: bool = False
    """The connection broke off after an answer had begun."""
    watch: network_guard.Watch = field(default_factory=network_guard.Watch)
    """Refuses what would leave this client."""
    unreadable: str | None = None
    """Why the answer is not read, as words that follow "sent"."""

    def remaining(self) -> float:
        """Seconds that are left. Raises httpcore.ReadTimeout where none are."""
        left = self.deadline - time.monotonic()
        if left <= 0:
            self.timed_out = True
            raise httpcore.ReadTimeout("The time for this call is over.")
        return left


def fill(request: httpx.Request) -> None:
    """Put the files of the call under way into its request, for what has to see the whole of it."""
    _CALL.get().attachments.fill(request)


_CALL: ContextVar[Call] = ContextVar("zango_ai_call")


@contextmanager
def calling(timeout_s: float, vendor: str = "") -> Iterator[Call]:
    """Everything that is sent inside the block belongs to one call, to be over in ``timeout_s``.

    It goes over our own client, and to ``vendor``, as litellm calls it.
    """
    call = Call(time.monotonic() + timeout_s, watch=network_guard.Watch(vendor))
    token = _CALL.set(call)
    try:
        with network_guard.watching(call.watch):
            yield call
    finally:
        _CALL.reset(token)


class _Stream(httpcore.NetworkStream):
    """A socket that waits no longer than the call that uses it may last."""

    def __init__(self, inner: httpcore.NetworkStream) -> None:
        self._inner = inner

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        with _marking_timeouts():
            return self._inner.read(max_bytes, _CALL.get().remaining())

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        # In pieces: the inner write gives each of its own sends the whole time again.
        with _marking_timeouts():
            _CALL.get().is_sent = True
            for start in range(0, len(buffer), _PIECE):
                self._inner.write(buffer[start : start + _PIECE], _CALL.get().remaining())

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        with _marking_timeouts():
            return _Stream(self._inner.start_tls(ssl_context, server_hostname, _CALL.get().remaining()))

    def close(self) -> None:
        self._inner.close()

    def get_extra_info(self, info: str) -> Any:
        return self._inner.get_extra_info(info)


class _Backend(httpcore.NetworkBackend):
    """Connects to the address that it has looked at, and to no other."""

    def __init__(self, *, outside_only: bool) -> None:
        self._inner = httpcore.SyncBackend()
        self._outside_only = outside_only

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        call = _CALL.get()
        try:
            with network_guard.lifted():
                found = addresses.resolve(host, port)
        except OSError as exc:
            raise httpcore.ConnectError(f"{host} is not known") from exc
        if self._outside_only and any(addresses.is_inside(address) for address in found):
            call.refusal = addresses.refusal(host, get_conf().allowed_api_bases)
            raise httpcore.ConnectError(call.refusal)
        for position, address in enumerate(found):
            # An address that does not answer must leave time for the next one.
            share = call.remaining() / (len(found) - position)
            try:
                with network_guard.lifted():
                    opened = self._inner.connect_tcp(address, port, share, local_address, socket_options)
                return _Stream(opened)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as exc:
                if position + 1 == len(found):
                    call.timed_out = isinstance(exc, httpcore.ConnectTimeout)
                    raise
        raise httpcore.ConnectError(f"{host} has no address")


@contextmanager
def _marking_timeouts() -> Iterator[None]:
    try:
        yield
    except httpcore.TimeoutException:
        _CALL.get().timed_out = True
        raise


class _Pool(httpx.HTTPTransport):
    """httpx's own transport over a pool that connects through a backend of ours."""

    def __init__(self, *, outside_only: bool) -> None:
        super().__init__(verify=tls())
        private.require("httpx", self, "_pool").close()
        self._pool = httpcore.ConnectionPool(
            ssl_context=tls(),
            max_connections=None,
            max_keepalive_connections=50,
            keepalive_expiry=60.0,
            network_backend=_Backend(outside_only=outside_only),
        )


class _Transport(httpx.BaseTransport):
    def __init__(self) -> None:
        # Two pools: a connection into the host's network is never reused for an address that is not listed.
        self._outside, self._inside = _Pool(outside_only=True), _Pool(outside_only=False)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        call = _CALL.get()
        call.remaining()
        call.status, call.headers, call.body = None, {}, b""
        call.request_params = _params_of(request)
        call.attachments.fill(request)
        listed = addresses.is_listed(str(request.url), get_conf().allowed_api_bases)
        request.headers["Accept-Encoding"] = decoding.ACCEPTED
        response = (self._inside if listed else self._outside).handle_request(request)
        call.status = response.status_code
        try:
            call.headers = _headers_of(response)
            content = call.body = _read(response)
        except httpx.TransportError:
            call.is_broken = True
            raise
        except decoding.Unreadable as exc:
            call.unreadable = str(exc)
            raise httpx.ReadError(call.unreadable) from exc
        finally:
            response.close()
        if response.is_success:
            content = call.withheld.take_out(content)
        kept = [(name, value) for name, value in response.headers.items() if name not in _DROPPED]
        return httpx.Response(response.status_code, headers=kept, content=content)

    def close(self) -> None:
        self._outside.close()
        self._inside.close()


def _headers_of(response: httpx.Response) -> Mapping[str, str]:
    """h11 bounds their size (100 KiB); litellm goes through each of them several times."""
    if len(response.headers.raw) > MAX_HEADERS:
        raise decoding.Unreadable(f"an answer with more than {MAX_HEADERS} headers")
    return dict(response.headers)


def _read(response: httpx.Response) -> bytes:
    """The whole body, decoded, up to ``MAX_ANSWER_BYTES``; of an error's body the beginning."""
    decoder = decoding.Decoder(response.headers.get("Content-Encoding", ""), MAX_ANSWER_BYTES, decoding.MAX_PIECES)
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
    if request.method != "POST":
        return {}
    try:
        body = json.loads(request.content)
    except (ValueError, httpx.RequestNotRead):
        return {}
    return {key: value for key, value in body.items() if key not in _CONTENT_KEYS}


@lru_cache(maxsize=1)
def tls() -> ssl.SSLContext:
    return httpx.create_ssl_context()


def new_client() -> httpx.Client:
    # The time is kept by the streams, to the end of the call and not for each read.
    return httpx.Client(transport=_Transport(), timeout=None, trust_env=False)  # noqa: S113
