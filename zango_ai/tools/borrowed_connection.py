"""Lend the caller's database connection to a function in another thread, and take it back.

The function gets its own Django wrapper around the same connection to the server. So it sees the caller's
transaction, while Django's record of its atomic blocks and savepoints stays apart from the caller's. When the call
ends, its wrapper and its cursors are disabled, even if the function is still running: the caller has its connection
to itself again.
"""

from __future__ import annotations

import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

from django.db import connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from psycopg import ServerCursor
from psycopg.pq import ExecStatus, TransactionStatus

from .. import tenancy
from . import read_only

T = TypeVar("T")

READ_ONLY = "SELECT set_config('transaction_read_only', 'on', true)"
"""Until the savepoint ends. It must be a query: PostgreSQL lets a transaction become writable again as long as it
has executed none."""
_CANCEL_TIMEOUT_S = 2.0
_COPY_STATUSES = {ExecStatus.COPY_IN, ExecStatus.COPY_OUT, ExecStatus.COPY_BOTH}
_COPIED_ATTRIBUTES = (
    "connection",
    "autocommit",
    "in_atomic_block",
    "savepoint_state",
    "commit_on_exit",
    "needs_rollback",
    "close_at",
    "queries_log",
    "force_debug_cursor",
)
"""A wrapper's state of its connection and its transaction."""
SHARED = ("_zango_ai_journal",)
"""Attributes of this package that the function's wrapper shares with the caller's."""


class TransactionBroken(Exception):
    """The function left the transaction in a state in which only a rollback is possible."""


class BorrowedConnection:
    """The caller's connection, for one call of a function."""

    def __init__(self) -> None:
        caller = self._caller = tenancy.connection()
        caller.ensure_connection()
        self._wrapper: BaseDatabaseWrapper | None = None
        self._cursors: weakref.WeakSet[Any] = weakref.WeakSet()
        self._was_broken = self._caller.needs_rollback or self._status() == TransactionStatus.INERROR
        self._is_in_autocommit = caller.get_autocommit() and not caller.in_atomic_block
        self._is_read_only = False
        self.hooks: list[Any] = []
        """The function's ``on_commit`` hooks, if its own transaction was committed and they are due."""

    @contextmanager
    def transaction(self, *, is_read_only: bool, is_atomic: bool) -> Iterator[None]:
        """Wrap the call, in the caller's thread. If the block raises, what the function wrote is rolled back.

        Without an open transaction that needs ``is_atomic``. ``is_read_only`` always rolls back, so that no
        setting, role or lock of the function remains. Raises TransactionBroken at the end of the block if the
        function left the transaction broken.
        """
        caller, self._is_read_only = self._caller, is_read_only
        try:
            if self._was_broken or (self._is_in_autocommit and not (is_read_only or is_atomic)):
                with self._connection_taken_back():
                    yield
                return
            with transaction.atomic(using=caller.alias):
                if is_read_only:
                    with tenancy.bare_cursor(caller, READ_ONLY) as cursor:
                        cursor.execute(READ_ONLY)
                with self._connection_taken_back():
                    yield
                if is_read_only:
                    transaction.set_rollback(True, using=caller.alias)
        finally:
            tenancy.forget_search_path(self._caller)  # a rollback may have changed it
            if self._is_in_autocommit and not self._is_at_rest():
                caller.close()

    @contextmanager
    def _connection_taken_back(self) -> Iterator[None]:
        """After the block, the caller has its connection to itself."""
        try:
            yield
            self._take_over_hooks()
        except BaseException:
            self._end_statement()
            self._forget_cursors()
            raise
        finally:
            self._revoke()

    def use(self, function: Callable[[], T]) -> T:
        """Call the function in this thread, which is not the caller's, with the borrowed connection installed."""
        borrowed = self._wrapper = self._make_wrapper()
        connections[self._caller.alias] = borrowed
        try:
            return function()
        finally:
            borrowed.close()  # closes only the ledger's connection, if the tool ran an agent
            for other in connections.all(initialized_only=True):
                if other is not borrowed:
                    other.close()

    def cancel(self) -> None:
        """Cancel the statement that the function is waiting for."""
        if self._status() == TransactionStatus.ACTIVE:
            with suppress(Exception):
                self._caller.connection.cancel_safe(timeout=_CANCEL_TIMEOUT_S)

    def _make_wrapper(self) -> BaseDatabaseWrapper:
        caller = self._caller
        wrapper: Any = caller.copy()
        for name in _COPIED_ATTRIBUTES:
            setattr(wrapper, name, getattr(caller, name))
        for name in SHARED:
            if hasattr(caller, name):
                setattr(wrapper, name, getattr(caller, name))
        # The function cannot roll back to the caller's savepoints, and its changes to these lists stay its own.
        wrapper.savepoint_ids = []
        wrapper.atomic_blocks = list(caller.atomic_blocks)
        wrapper.execute_wrappers = list(caller.execute_wrappers)
        if self._is_read_only:
            wrapper.on_commit = read_only.refuse_on_commit
            wrapper.execute_wrappers.append(read_only.refuse_statement)
        tenancy.copy_state(caller, wrapper)
        # Only the caller closes it. close_old_connections() in a tool must not.
        wrapper.close = lambda: None
        self._track_cursors(wrapper)
        return wrapper  # type: ignore[no-any-return]

    def _track_cursors(self, wrapper: Any) -> None:
        create_untracked = wrapper.create_cursor

        def create_cursor(name: str | None = None) -> Any:
            cursor = create_untracked(name)
            self._cursors.add(cursor)
            return cursor

        wrapper.create_cursor = create_cursor

    def _take_over_hooks(self) -> None:
        """Register the function's ``on_commit`` hooks for the end of the transaction. Raises TransactionBroken."""
        wrapper, caller = self._wrapper, self._caller
        if wrapper is None or self._was_broken or not caller.in_atomic_block:
            return
        if wrapper.needs_rollback or self._status() == TransactionStatus.INERROR:
            raise TransactionBroken
        for cursor in list(self._cursors):
            cursor.close()
        if self._is_read_only:
            return
        if self._is_in_autocommit:
            self.hooks = list(wrapper.run_on_commit)
            return
        callers_savepoints = set(caller.savepoint_ids)
        for sids, *hook in wrapper.run_on_commit:
            caller.run_on_commit.append((set(sids) | callers_savepoints, *hook))  # type: ignore[arg-type]

    def _end_statement(self) -> None:
        """Cancel the statement that the function was stopped in, and discard its unread results."""
        if self._status() != TransactionStatus.ACTIVE:
            return
        self.cancel()
        raw = self._caller.connection
        if not raw.lock.acquire(timeout=_CANCEL_TIMEOUT_S):
            raw.close()  # the function is still running and holds the lock
            return
        try:
            while (result := raw.pgconn.get_result()) is not None:
                if result.status in _COPY_STATUSES and not _end_copy(raw.pgconn, result.status):
                    raw.close()
                    return
        finally:
            raw.lock.release()

    def _forget_cursors(self) -> None:
        """After a rollback the server has no cursors left. Closing one would break the transaction."""
        for cursor in list(self._cursors):
            if isinstance(cursor, ServerCursor):
                cursor._closed = True
            else:
                cursor.close()

    def _revoke(self) -> None:
        tenancy.forget_search_path(self._caller)  # the function may have changed it
        if self._wrapper is not None:
            self._wrapper.in_atomic_block = self._wrapper.needs_rollback = True
            self._wrapper.closed_in_transaction = True
            self._wrapper.connection = None

    def _status(self) -> TransactionStatus:
        raw = self._caller.connection
        if raw is None or raw.closed:
            return TransactionStatus.UNKNOWN
        return raw.info.transaction_status  # type: ignore[no-any-return]

    def _is_at_rest(self) -> bool:
        raw = self._caller.connection
        return self._status() == TransactionStatus.IDLE and bool(raw.autocommit)


def run_hooks(hooks: list[Any]) -> None:
    """Run ``on_commit`` hooks as Django does, in a thread that uses the borrowed connection."""
    connection = tenancy.connection()
    connection.run_on_commit = hooks
    connection.run_and_clear_commit_hooks()


def _end_copy(pgconn: Any, status: ExecStatus) -> bool:
    """End a cancelled COPY. Return False if it does not end."""
    if status != ExecStatus.COPY_OUT:
        pgconn.put_copy_end(b"The tool was stopped.")
        return True
    deadline = time.monotonic() + _CANCEL_TIMEOUT_S
    while pgconn.get_copy_data(0)[0] > 0:
        if time.monotonic() >= deadline:
            return False
    return True
