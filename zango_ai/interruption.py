"""Cancel a run from another thread while its own thread waits for the provider.

An async run needs none of this: its task is cancelled.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeVar

T = TypeVar("T")

_EVENT: ContextVar[threading.Event | None] = ContextVar("zango_ai_interruption", default=None)
_SLICE_S = 0.5
"""How long it takes at most until an interruption is noticed."""


@contextmanager
def by(event: threading.Event) -> Iterator[None]:
    """Once ``event`` is set, the functions below raise CancelledError inside the block."""
    token = _EVENT.set(event)
    try:
        yield
    finally:
        _EVENT.reset(token)


def check() -> None:
    """Raise CancelledError if the run has been interrupted."""
    event = _EVENT.get()
    if event is not None and event.is_set():
        raise asyncio.CancelledError


def sleep(seconds: float) -> None:
    """Wait so many seconds. Raises CancelledError."""
    event = _EVENT.get()
    if event is None:
        time.sleep(seconds)
    elif event.wait(seconds):
        raise asyncio.CancelledError


def wait(call: Callable[[float], T], remaining: Callable[[], float], timeout: type[Exception]) -> T:
    """Return ``call(seconds)``, which raises ``timeout`` after so many seconds, and may then be called again.

    ``remaining`` returns the time that is left, or raises an error. Raises CancelledError.
    """
    if _EVENT.get() is None:
        return call(remaining())
    while True:
        check()
        left = remaining()
        try:
            return call(min(left, _SLICE_S))
        except timeout:
            if left <= _SLICE_S:
                raise
