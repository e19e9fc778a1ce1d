"""Threads with database connections of their own, for the synchronous parts of async runs."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from contextlib import contextmanager
from typing import Any, TypeVar

from django.core import mail
from django.db import connections

T = TypeVar("T")

_Job = tuple[Future[Any], Callable[[], Any]]

IDLE_S = 30.0
"""A thread ends after it was idle for this long."""
_CLOSE_TIMEOUT_S = 2.0


class WorkerThreads(Executor):
    """Up to ``size`` threads, which start when they are needed.

    Their connections follow Django's rules as if all runs that overlap were one request: when the last one ends,
    connections that are older than ``CONN_MAX_AGE`` are closed. In tests, all are closed then: a test database with
    open connections cannot be dropped.
    """

    def __init__(self, name: str, size: int) -> None:
        self._name, self._size = name, size
        self._reset()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._reset)

    def _reset(self) -> None:
        self._changed = threading.Condition()
        self._jobs: deque[_Job] = deque()
        self._threads = self._idle = self._users = self._closings = 0
        self._unclosed = 0
        """How many threads have yet to close their old connections."""

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        future: Future[T] = Future()
        with self._changed:
            self._jobs.append((future, lambda: fn(*args, **kwargs)))
            if self._idle < len(self._jobs) and self._threads < self._size:
                self._threads += 1
                threading.Thread(target=self._work, name=self._name, daemon=True).start()
            else:
                self._changed.notify()
        return future

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """During the block, the threads keep their connections."""
        with self._changed:
            self._users += 1
        try:
            yield
        finally:
            with self._changed:
                self._users -= 1
                if not self._users and self._threads:
                    self._closings += 1
                    self._unclosed = self._threads
                    self._changed.notify_all()
                    if _is_test():
                        self._changed.wait_for(lambda: not self._unclosed, _CLOSE_TIMEOUT_S)

    def _work(self) -> None:
        closings = self._closings
        try:
            while True:
                with self._changed:
                    job, is_idle = self._next_job(closings)
                    if is_idle:
                        self._threads -= 1
                        return
                if job is not None:
                    carry_out(*job)
                    del job
                    continue
                closings = self._closings
                _close_old_connections()
                with self._changed:
                    self._unclosed -= 1
                    self._changed.notify_all()
        finally:
            connections.close_all()

    def _next_job(self, closings: int) -> tuple[_Job | None, bool]:
        """Wait for a job. None: old connections are to be closed. Also return whether nothing came in time."""
        self._idle += 1
        is_due = self._changed.wait_for(lambda: bool(self._jobs) or self._closings != closings, IDLE_S)
        self._idle -= 1
        return self._jobs.popleft() if self._jobs else None, not is_due


def carry_out(future: Future[Any], function: Callable[[], Any]) -> None:
    """Call the function, unless the future is cancelled, and give the future its result or exception."""
    if not future.set_running_or_notify_cancel():
        return
    try:
        result = function()
    except BaseException as exc:
        future.set_exception(exc)
    else:
        future.set_result(result)


def _close_old_connections() -> None:
    if _is_test():
        connections.close_all()
        return
    for connection in connections.all(initialized_only=True):
        connection.close_if_unusable_or_obsolete()


def _is_test() -> bool:
    """Whether Django's test environment is set up."""
    return hasattr(mail, "outbox")
