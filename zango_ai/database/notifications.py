"""Wake the readers of a stored stream when another process has written to it: PostgreSQL's LISTEN and NOTIFY.

One thread with one connection listens for all readers of this process, as long as there are any. Notifications are
a shortcut only: a reader also looks by itself from time to time. So nothing is lost if the connection breaks, or if
it leads through a pooler that does not support LISTEN.
"""

from __future__ import annotations

import logging
import os
import selectors
import socket
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any
from uuid import UUID

from . import ledger_connection

logger = logging.getLogger("zango_ai.ledger")

CHANNEL = "zango_ai_stream"
_RECONNECT_AFTER_S = 1.0

Wake = Callable[[], object]


def topic(schema: str, run_id: UUID) -> str:
    """The text of the notification that a run has a new chunk or status."""
    return f"{schema} {run_id}"


@contextmanager
def waking(topic: str, wake: Wake) -> Iterator[None]:
    """Call ``wake`` for each notification of that topic. It is called in another thread, and must not block."""
    listener = _listener()
    listener.add(topic, wake)
    try:
        yield
    finally:
        listener.remove(topic, wake)


class _Listener:
    """The readers of this process, and the thread that listens for them."""

    def __init__(self) -> None:
        self.pid = os.getpid()
        self._lock = threading.Lock()
        self._readers: dict[str, list[Wake]] = defaultdict(list)
        self._stop: socket.socket | None = None
        """Closing it ends the thread."""

    def add(self, topic: str, wake: Wake) -> None:
        with self._lock:
            self._readers[topic].append(wake)
            if self._stop is None:
                self._stop, stopped = socket.socketpair()
                threading.Thread(
                    target=self._listen, args=(stopped,), name="zango_ai listener", daemon=True
                ).start()

    def remove(self, topic: str, wake: Wake) -> None:
        with self._lock:
            self._readers[topic].remove(wake)
            if not self._readers[topic]:
                del self._readers[topic]
            if not self._readers and self._stop is not None:
                self._stop.close()
                self._stop = None

    def _listen(self, stopped: socket.socket) -> None:
        """Listen until ``stopped`` is closed at its other end, and connect again when the connection is lost."""
        with stopped, selectors.DefaultSelector() as selector:
            selector.register(stopped, selectors.EVENT_READ)
            while True:
                try:
                    self._listen_once(selector, stopped)
                    return
                except Exception:  # the readers look by themselves in the meantime
                    logger.warning("The connection that listens for chunks was lost", exc_info=True)
                self._wake_all()
                if selector.select(_RECONNECT_AFTER_S):
                    return

    def _listen_once(self, selector: selectors.BaseSelector, stopped: socket.socket) -> None:
        with ledger_connection.listening(CHANNEL) as connection:
            self._wake_all()  # what was written before the connection was open
            selector.register(connection.fileno(), selectors.EVENT_READ)
            try:
                while True:
                    events = selector.select()
                    if any(key.fileobj is stopped for key, _ in events):
                        return
                    self._wake_notified(connection.pgconn)
            finally:
                with suppress(Exception):
                    selector.unregister(connection.fileno())

    def _wake_notified(self, pgconn: Any) -> None:
        pgconn.consume_input()
        while (notification := pgconn.notifies()) is not None:
            with self._lock:
                readers = list(self._readers.get(notification.extra.decode(), ()))
            for wake in readers:
                wake()

    def _wake_all(self) -> None:
        with self._lock:
            readers = [wake for wakes in self._readers.values() for wake in wakes]
        for wake in readers:
            wake()


_current = _Listener()
_lock = threading.Lock()


def _listener() -> _Listener:
    """The listener of this process. A forked process has none of its parent's threads."""
    global _current
    with _lock:
        if _current.pid != os.getpid():
            _current = _Listener()
        return _current
