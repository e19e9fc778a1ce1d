"""Call a function with a time limit, in a thread of its own.

Signals and alarms belong to the host and reach only the main thread, so none are used. Python code is stopped by an
exception raised inside its thread. C code that blocks (a socket, ``time.sleep``) cannot be stopped: the caller goes
on without it, and the exception is raised when it returns to Python.
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
"""How long a function may clean up after it was told to stop."""
HEARTBEAT_S = 15.0
_POLL_S = 0.02
_POLLS_PER_STOP = 5


class Stopped(BaseException):
    """Raised inside a function that exceeded its time limit. ``except Exception`` does not catch it."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a call ended: with a value, with an error, or at its time limit."""

    value: Any = None
    error: BaseException | None = None
    is_timeout: bool = False
    stack: str = ""
    """At a time limit: where the function was."""
    is_still_running: bool = False
    """The function could not be stopped and keeps running in its thread."""
    interruption: BaseException | None = None
    """What interrupted the waiting caller: Ctrl-C, a Celery task's time limit."""


def call(
    function: Callable[[], Any],
    *,
    timeout_s: float,
    unblock: Callable[[], None],
    heartbeat: Callable[[], None] | None = None,
    is_interruptible: bool = True,
) -> Outcome:
    """Call the function in a copy of the caller's context. Return when it ends or its time is up.

    While a function that was told to stop has not ended, ``unblock`` is called repeatedly, to end what it may be
    waiting for. ``heartbeat`` is called every ``HEARTBEAT_S`` seconds while the function runs. A function that is
    not ``is_interruptible`` is told to stop by ``unblock`` alone.
    """
    thread = _FunctionThread(function)
    deadline = time.monotonic() + timeout_s
    try:
        thread.start()
        while not thread.wait(min(HEARTBEAT_S, deadline - time.monotonic())):
            if time.monotonic() >= deadline:
                break
            if heartbeat is not None:
                heartbeat()
    except BaseException as exc:
        return Outcome(interruption=exc, is_still_running=not _stop(thread, unblock, is_interruptible))
    if thread.outcome is not None:
        return thread.outcome
    stack = thread.stack()
    is_still_running = not _stop(thread, unblock, is_interruptible)
    return Outcome(is_timeout=True, stack=stack, is_still_running=is_still_running)


def _stop(thread: _FunctionThread, unblock: Callable[[], None], is_interruptible: bool) -> bool:
    """Stop the function. Return whether it ended within ``GRACE_S``."""
    deadline, polls = time.monotonic() + GRACE_S, 0
    while True:
        if (
            is_interruptible and polls % _POLLS_PER_STOP == 0
        ):  # repeated: Python ignores an exception raised inside a __del__
            thread.stop()
        polls += 1
        if thread.wait(_POLL_S):
            return True
        unblock()
        if time.monotonic() >= deadline:
            return False


class _FunctionThread:
    """Runs the function in a thread.

    Not a subclass of `Thread`: Python 3.14 added a private `_context` to that class, which this one would replace.
    """

    def __init__(self, function: Callable[[], Any]) -> None:
        self._thread = threading.Thread(target=self._run, name="zango-ai-tool", daemon=True)
        self.outcome: Outcome | None = None
        self._function: Callable[[], Any] | None = function
        self._context = contextvars.copy_context()
        self._has_ended = threading.Event()
        self._outcome_lock = threading.Lock()
        """Decides a race between the function's end and ``stop()``."""

    def start(self) -> None:
        self._thread.start()

    def _run(self) -> None:
        with suppress(Stopped):  # may be raised just after the function has ended
            try:
                assert self._function is not None
                outcome = Outcome(self._context.run(self._function))
            except Stopped:
                outcome = Outcome(is_timeout=True)
            except BaseException as exc:
                outcome = Outcome(error=exc)
            with self._outcome_lock:
                self.outcome = outcome
        self._function = None
        self._has_ended.set()

    def wait(self, seconds: float) -> bool:
        """Return whether the function has ended within so many seconds."""
        return self._has_ended.wait(max(seconds, 0.0))

    def stop(self) -> None:
        """Raise ``Stopped`` inside the function, unless it has ended."""
        with self._outcome_lock:
            if self.outcome is None and (ident := self._thread.ident) is not None:
                ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(ident), ctypes.py_object(Stopped))

    def stack(self) -> str:
        """The lines of code that the function is executing."""
        frame = sys._current_frames().get(self._thread.ident or 0)
        return "" if frame is None else "".join(traceback.format_stack(frame))
