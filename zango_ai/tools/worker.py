"""Call a function for no longer than a time: in a thread of its own, whoever calls it.

No signal and no alarm is used, so it works in any thread, and the host's own stay as they are. Python code is
stopped by an exception that is raised inside it. What waits in C (a socket, ``time.sleep``) cannot be stopped: it
is left behind, and the exception meets it when it comes back.
"""

from __future__ import annotations

import contextvars
import ctypes
import sys
import threading
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

GRACE_S = 0.5
"""How long a function that was told to stop has for its own cleaning up."""
BEAT_S = 15.0
_POLL_S = 0.02
_POLLS_BEFORE_TELLING_AGAIN = 5


class Stopped(BaseException):
    """Raised inside a function whose time is over. No ``except Exception`` catches it."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a call ended: with a value, an error, or not in time."""

    value: Any = None
    error: BaseException | None = None
    is_late: bool = False
    """Its time was over."""
    stack: str = ""
    """What it was doing then."""
    is_left_behind: bool = False
    """It could not be stopped, and goes on by itself."""
    interruption: BaseException | None = None
    """What has cut into the caller's waiting: Ctrl-C, a task's time limit."""


def call(
    function: Callable[[], Any],
    *,
    timeout_s: float,
    unblock: Callable[[], None],
    beat: Callable[[], None] | None = None,
) -> Outcome:
    """Call it in a copy of the caller's context; return when it is over, or its time is.

    ``unblock`` is called, some times, while a function that has to stop does not: to end what it may wait for.
    ``beat`` is called every ``BEAT_S`` seconds while it works.
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
    except BaseException as exc:
        return Outcome(interruption=exc, is_left_behind=not _stop(work, unblock))
    if work.outcome is not None:
        return work.outcome
    stack = work.stack()
    return Outcome(is_late=True, stack=stack, is_left_behind=not _stop(work, unblock))


def _stop(work: _Work, unblock: Callable[[], None]) -> bool:
    """Whether it has stopped."""
    until, polls = time.monotonic() + GRACE_S, 0
    while True:
        if polls % _POLLS_BEFORE_TELLING_AGAIN == 0:  # Python ignores what is raised inside a __del__
            work.stop()
        polls += 1
        if work.wait(_POLL_S):
            return True
        unblock()
        if time.monotonic() >= until:
            return False


class _Work:
    """Runs the function in a thread.

    Not a subclass of `Thread`: Python 3.14 added a private `_context` to that class, which this one would replace.
    """

    def __init__(self, function: Callable[[], Any]) -> None:
        self._thread = threading.Thread(target=self._run, name="zango-ai-tool", daemon=True)
        self.outcome: Outcome | None = None
        self._function: Callable[[], Any] | None = function
        self._context = contextvars.copy_context()
        self._over = threading.Event()
        self._ending = threading.Lock()
        """Held by whoever says first how it ends: the function, or who stops it."""

    def start(self) -> None:
        self._thread.start()

    def _run(self) -> None:
        with suppress(Stopped):  # one that comes when the function has just ended
            try:
                assert self._function is not None
                outcome = Outcome(self._context.run(self._function))
            except Stopped:
                outcome = Outcome(is_late=True)
            except BaseException as exc:
                outcome = Outcome(error=exc)
            with self._ending:
                self.outcome = outcome
        self._function = None
        self._over.set()

    def wait(self, seconds: float) -> bool:
        return self._over.wait(max(seconds, 0.0))

    def stop(self) -> None:
        with self._ending:
            if self.outcome is None and (ident := self._thread.ident) is not None:
                ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(ident), ctypes.py_object(Stopped))

    def stack(self) -> str:
        """What the function is doing."""
        frame = sys._current_frames().get(self._thread.ident or 0)
        return "" if frame is None else "".join(traceback.format_stack(frame))
