"""One call to a vendor as our HTTP transport sees it: its deadline, its files, and what came over the wire."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

import httpcore
import httpx

from . import network_guard
from .file_placeholders import Placeholders
from .response_decoder import UnreadableResponse
from .unreadable_arguments import UnreadableArguments

_TRACE: ContextVar[CallTrace] = ContextVar("zango_ai_call_trace")


@dataclass(slots=True)
class CallTrace:
    """What is known of one call while it runs. ``errors`` and ``model_answers`` read it afterwards."""

    deadline: float
    """By ``time.monotonic()``."""
    watch: network_guard.Watch
    """Refuses connections outside our own HTTP client."""
    is_stream: bool = False
    """Whether the body of a successful response is read while it arrives."""
    placeholders: Placeholders = field(default_factory=Placeholders)
    """The files of the request."""
    unreadable_arguments: UnreadableArguments = field(default_factory=UnreadableArguments)
    """Parts of the response that litellm cannot read."""
    request_params: dict[str, Any] = field(default_factory=dict)
    """The body that was sent, without messages and tools."""
    status: int | None = None
    """Of the last response."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """Of the last response."""
    body: bytes = field(default=b"", repr=False)
    """Of the last response, decoded. Of a stream: empty."""
    has_usage: bool = False
    """Of a stream: whether the vendor has sent usage."""
    error_event: bytes = field(default=b"", repr=False)
    """Of a stream: the JSON of the event with which the vendor reported an error."""
    stream_response: httpx.Response | None = None
    """Of a stream: the response whose body is being read."""
    is_sent: bool = False
    """Whether any byte of the request was sent."""
    origin: str = ""
    """Scheme, host and port of the last request."""
    unreachable: str | None = None
    """Why no connection could be opened, as the rest of a sentence."""
    refusal: str | None = None
    """Why the address may not be called, if it leads into the host's network."""
    timed_out: bool = False
    is_broken: bool = False
    """Whether the connection broke off after a response had begun."""
    unreadable: str | None = None
    """Why the response was not read, as the rest of a sentence that ends in "sent"."""

    @classmethod
    def start(cls, timeout_s: float, vendor: str = "", *, is_stream: bool = False) -> CallTrace:
        """A call of ``timeout_s`` seconds at most, to ``vendor`` only, which is litellm's name of it."""
        return cls(time.monotonic() + timeout_s, network_guard.Watch(vendor), is_stream)

    @contextmanager
    def active(self) -> Iterator[CallTrace]:
        """Everything that this thread sends inside the block belongs to this call."""
        token = _TRACE.set(self)
        self.watch.thread = threading.get_ident()  # a stream may be read in another thread than it was opened in
        try:
            with network_guard.watching(self.watch):
                yield self
        finally:
            _TRACE.reset(token)

    def remaining(self) -> float:
        """Seconds until the deadline. Raises httpcore.ReadTimeout after it."""
        left = self.deadline - time.monotonic()
        if left <= 0:
            self.timed_out = True
            raise httpcore.ReadTimeout("The time for this call is over.")
        return left

    @contextmanager
    def noting_read_errors(self) -> Iterator[None]:
        """Note why a response could not be read."""
        try:
            yield
        except httpx.TransportError:
            self.is_broken = True
            raise
        except UnreadableResponse as exc:
            self.unreadable = str(exc)
            raise httpx.ReadError(self.unreadable) from exc


def current_trace() -> CallTrace:
    """The call that is active in this thread. LookupError if there is none."""
    return _TRACE.get()
