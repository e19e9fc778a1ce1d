"""Refuses every network connection that a call to a vendor makes outside our own HTTP client.

litellm opens clients of its own for some models: for another vendor's API, a device log-in, a template from a model
hub. An audit hook sees each connection and each name look-up that Python code makes, whatever client makes it. It
acts only in the thread of a call that is under way; native code (libpq, gRPC) is not seen.
"""

from __future__ import annotations

import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

_EVENTS = frozenset({"socket.connect", "socket.getaddrinfo", "socket.gethostbyname"})


class ConnectionBypassed(OSError):
    """Something in a call to a vendor tried to go around our HTTP client. An OSError, for clients expect those."""


@dataclass(slots=True)
class Watch:
    """One call to a vendor, as the guard sees it."""

    vendor: str = ""
    """litellm's name of the vendor that this call is for."""
    refused: str | None = None
    """What the call tried to do outside our HTTP client, in words; None: nothing."""
    is_lifted: bool = False
    """Whether this thread may connect: our own client does, and callbacks that the project has given litellm."""
    thread: int = field(default_factory=threading.get_ident)
    """litellm copies the context into its threads, in which the project's callbacks run. They are left alone."""

    def refuse(self, what: str) -> ConnectionBypassed:
        self.refused = self.refused or what
        return ConnectionBypassed(f"Inside a call to a provider, litellm tried to {what}.")


_WATCH: ContextVar[Watch | None] = ContextVar("zango_ai_network_watch", default=None)


def current() -> Watch | None:
    """The call that is under way in this thread."""
    watch = _WATCH.get()
    return watch if watch is not None and watch.thread == threading.get_ident() else None


@contextmanager
def watching(watch: Watch) -> Iterator[None]:
    """Inside the block this thread connects only through our own HTTP client."""
    install()
    token = _WATCH.set(watch)
    try:
        yield
    finally:
        _WATCH.reset(token)


@contextmanager
def lifted() -> Iterator[None]:
    """Inside the block this thread may connect."""
    watch = current()
    before = watch is None or watch.is_lifted
    if watch is not None:
        watch.is_lifted = True
    try:
        yield
    finally:
        if watch is not None:
            watch.is_lifted = before


@lru_cache(maxsize=1)
def install() -> None:
    """Add the audit hook, once in a process. Raises RuntimeError where another hook does not let it in."""
    sys.addaudithook(_audit)
    token = _WATCH.set(Watch())
    try:
        with suppress(ConnectionBypassed):
            sys.audit("socket.getaddrinfo", "guard.invalid", 443, 0, 0, 0)
            raise RuntimeError("Python's audit hooks are blocked, so calls to providers cannot be guarded.")
    finally:
        _WATCH.reset(token)


def _audit(event: str, args: tuple[Any, ...], _events: frozenset[str] = _EVENTS) -> None:
    # Runs for every audited event of the process: first what is cheap.
    if event not in _events:
        return
    watch = current()
    if watch is None or watch.is_lifted:
        return
    host, form = args[0], args[3] if event == "socket.getaddrinfo" else 0
    if event == "socket.connect":
        sock, address = args
        host, form = address[0] if isinstance(address, tuple) else None, sock.type
    if host is None or form == socket.SOCK_DGRAM:
        return  # a log line or a metric, by a Unix socket or UDP to the host's own collector
    raise watch.refuse(f"connect to {host!s} by another client")
