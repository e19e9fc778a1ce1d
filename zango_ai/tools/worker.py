"""Call a function for no longer than a time: in a thread of its own, whoever calls it.

No signal and no alarm is used, so it works in any thread, and the host's own stay as they are. Python code is
stopped by an exception that is raised inside it. What waits in C (a socket, ``time.sleep``) cannot be stopped: it
is left behind, and the exception meets it when it comes back.
"""

from __future__ import annotations

import contextvars
import ctypes
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

GRACE_S = 0.5
"""How long a function that was told to stop has for its own cleaning up."""
BEAT_S = 15.0
_POLL_S = 0.02


class Stopped(BaseException):
    """Raised inside a function whose time is over. No ``except Exception`` catches it."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a call ended: with a value, an error, or not in time."""

    value: Any = None
    error: BaseException | None = None
    is_late: bool = False
    """Its time was over."""
    is_left_behind: bool = False
    """It could not be stopped, and goes on by itself."""


def call(
    function: Callable[[], Any],
    *,
    timeout_s: float,
    unblock: Callable[[], None],
    beat: Callable[[], None] | None = None,
) -> Outcome:
    """Call it in a copy of the caller's context; return when it is over, or its time is.

    ``unblock`` is called, some times, while a function that has to stop does not: to end what it may wait for.
    ``beat`` is called every ``BEAT_S`` seconds while it works. What cuts into the caller's waiting (Ctrl-C, a
    task's time limit) stops the function too, and is raised.
    """
    work = _Work(function)
    deadline = time.monotonic() + timeout_s
    try:
        work.start()
        while not work.wait(min(BEAT_S, deadline - time.monotonic())):
            if time.monotonic() >= deadline:
                break
            if beat is not None:
                beat()
    except BaseException:
        _stop(work, unblock)
        raise
    if work.outcome is not None:
        return work.outcome
    return Outcome(is_late=True, is_left_behind=not _stop(work, unblock))


def _stop(work: _Work, unblock: Callable[[], None]) -> bool:
    """Whether it has stopped."""
    work.stop()
    until = time.monotonic() + GRACE_S
    while not work.wait(_POLL_S):
        unblock()
        if time.monotonic() >= until:
            return False
    return True


class _Work(threading.Thread):
    def __init__(self, function: Callable[[], Any]) -> None:
        super().__init__(name="zango-ai-tool", daemon=True)
        self.outcome: Outcome | None = None
        self._function = function
        self._context = contextvars.copy_context()
        self._over = threading.Event()
        self._ending = threading.Lock()
        """Held by whoever says first how it ends: the function, or who stops it."""

    def run(self) -> None:
        with suppress(Stopped):  # one that comes when the function has just ended
            try:
                outcome = Outcome(self._context.run(self._function))
            except Stopped:
                outcome = Outcome(is_late=True)
            except BaseException as exc:
                outcome = Outcome(error=exc)
            with self._ending:
                self.outcome = outcome
        self._over.set()

    def wait(self, seconds: float) -> bool:
        return self._over.wait(max(seconds, 0.0))

    def stop(self) -> None:
        with self._ending:
            if self.outcome is None and self.ident is not None:
                ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(self.ident), ctypes.py_object(Stopped))
