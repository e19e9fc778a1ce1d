"""Lend the caller's database connection to a function in another thread, and take it back.

The function gets a wrapper of its own around the same connection to the server: it sees the caller's transaction,
and what Django notes of blocks and savepoints in it stays its own. When its time is over the wrapper and its
cursors are made useless, whatever the function still does; so the caller has its connection for itself again.
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

_READ_ONLY = "SELECT set_config('transaction_read_only', 'on', true)"
"""Until the savepoint ends. By a query, since PostgreSQL lets a transaction be made writable again as long as it
has had none."""
_CANCEL_TIMEOUT_S = 2.0
_COPIES = {ExecStatus.COPY_IN, ExecStatus.COPY_OUT, ExecStatus.COPY_BOTH}
_SAME = (
    "connection",
    "autocommit",
    "in_atomic_block",
    "savepoint_state",
    "commit_on_exit",
    "needs_rollback",
    "close_at",
    "queries_log",
    "force_debug_cursor",
    *("tenant", "schema_name", "include_public_schema"),
)
"""What a wrapper knows of its connection, its transaction and its tenant."""
SHARED = ("_zango_ai_journal",)
"""What this package keeps on a wrapper, where the function is to see the caller's own."""


class TransactionBroken(Exception):
    """The function has left the transaction so that nothing can be done in it any more."""


class Lent:
    """The caller's connection, for one call of a function."""

    def __init__(self) -> None:
        caller = self._caller = tenancy.connection()
        caller.ensure_connection()
        self._wrapper: BaseDatabaseWrapper | None = None
        self._cursors: weakref.WeakSet[Any] = weakref.WeakSet()
        self._was_broken = self._caller.needs_rollback or self._status() == TransactionStatus.INERROR
        self._is_free = caller.get_autocommit() and not caller.in_atomic_block
        self._is_read_only = False
        self.hooks: list[Any] = []
        """What the function has registered with ``on_commit``, where its own transaction is committed."""

    @contextmanager
    def transaction(self, *, is_read_only: bool, is_atomic: bool) -> Iterator[None]:
        """Around the call, in the caller's thread: what it wrote stays, or where the block raises, is undone.

        ``is_atomic`` asks for that also where the caller has no transaction open. ``is_read_only`` always rolls
        back, so that no setting, role or lock of the function's stays. Raises TransactionBroken at the end of the
        block where only a rollback helps.
        """
        caller, self._is_read_only = self._caller, is_read_only
        try:
            if self._was_broken or (self._is_free and not (is_read_only or is_atomic)):
                with self._used():
                    yield
                return
            with transaction.atomic(using=caller.alias):
                if is_read_only:
                    with tenancy.bare_cursor(caller, _READ_ONLY) as cursor:
                        cursor.execute(_READ_ONLY)
                with self._used():
                    yield
                if is_read_only:
                    transaction.set_rollback(True, using=caller.alias)
        finally:
            self._forget_search_path()
            if self._is_free and not self._is_at_rest():
                caller.close()

    @contextmanager
    def _used(self) -> Iterator[None]:
        """Afterwards the caller has its connection for itself."""
        try:
            yield
            self._take_over()
        except BaseException:
            self._end_statement()
            self._forget_cursors()
            raise
        finally:
            self._revoke()

    def use(self, function: Callable[[], T]) -> T:
        """Call the function in this thread, which is not the caller's, with the connection in its place."""
        lent = self._wrapper = self._lend()
        connections[self._caller.alias] = lent
        try:
            return function()
        finally:
            lent.close()  # of it alone what an agent in the tool has opened for its log
            for other in connections.all(initialized_only=True):
                if other is not lent:
                    other.close()

    def cancel(self) -> None:
        """Have the server stop the statement that the function waits for."""
        if self._status() == TransactionStatus.ACTIVE:
            with suppress(Exception):
                self._caller.connection.cancel_safe(timeout=_CANCEL_TIMEOUT_S)

    def _lend(self) -> BaseDatabaseWrapper:
        caller = self._caller
        lent: Any = caller.copy()
        for name in _SAME:
            setattr(lent, name, getattr(caller, name))
        for name in SHARED:
            if hasattr(caller, name):
                setattr(lent, name, getattr(caller, name))
        # The caller's savepoints are not the function's to go back to; and what it does to these lists is its own.
        lent.savepoint_ids = []
        lent.atomic_blocks = list(caller.atomic_blocks)
        lent.execute_wrappers = list(caller.execute_wrappers)
        if self._is_read_only:
            lent.on_commit = read_only.refuse_hook
            lent.execute_wrappers.append(read_only.refuse_statement)
        lent.settings_dict["SCHEMA"] = lent.schema_name
        # It is the caller's to close: close_old_connections() in a tool must not.
        lent.close = lambda: None
        make_cursor = lent.create_cursor

        def create_cursor(name: str | None = None) -> Any:
            cursor = make_cursor(name)
            self._cursors.add(cursor)
            return cursor

        lent.create_cursor = create_cursor
        return lent  # type: ignore[no-any-return]

    def _take_over(self) -> None:
        """Keep what the function has left for the end of the transaction."""
        lent, caller = self._wrapper, self._caller
        if lent is None or self._was_broken or not caller.in_atomic_block:
            return
        if lent.needs_rollback or self._status() == TransactionStatus.INERROR:
            raise TransactionBroken
        for cursor in list(self._cursors):
            cursor.close()
        if self._is_read_only:
            return
        if self._is_free:
            self.hooks = list(lent.run_on_commit)
            return
        outside = set(caller.savepoint_ids)
        for sids, *hook in lent.run_on_commit:
            caller.run_on_commit.append((set(sids) | outside, *hook))  # type: ignore[arg-type]

    def _end_statement(self) -> None:
        """End the statement in the middle of which the function was stopped: its results wait to be read."""
        if self._status() != TransactionStatus.ACTIVE:
            return
        self.cancel()
        raw = self._caller.connection
        if not raw.lock.acquire(timeout=_CANCEL_TIMEOUT_S):
            raw.close()  # who was left behind will not let go of it
            return
        try:
            while (result := raw.pgconn.get_result()) is not None:
                if result.status in _COPIES and not _end_copy(raw.pgconn, result.status):
                    raw.close()
                    return
        finally:
            raw.lock.release()

    def _forget_cursors(self) -> None:
        """After a rollback the server has none of them: to close one there would be an error in the transaction."""
        for cursor in list(self._cursors):
            if isinstance(cursor, ServerCursor):
                cursor._closed = True
            else:
                cursor.close()

    def _revoke(self) -> None:
        self._forget_search_path()
        if self._wrapper is not None:
            self._wrapper.in_atomic_block = self._wrapper.needs_rollback = True
            self._wrapper.closed_in_transaction = True
            self._wrapper.connection = None

    def _forget_search_path(self) -> None:
        """Have it set again: the function, or a rollback, may have set another."""
        self._caller.search_path_set_schemas = None  # type: ignore[attr-defined]

    def _status(self) -> TransactionStatus:
        raw = self._caller.connection
        if raw is None or raw.closed:
            return TransactionStatus.UNKNOWN
        return raw.info.transaction_status  # type: ignore[no-any-return]

    def _is_at_rest(self) -> bool:
        raw = self._caller.connection
        return self._status() == TransactionStatus.IDLE and bool(raw.autocommit)


def run_hooks(hooks: list[Any]) -> None:
    """Run ``on_commit`` hooks as Django does, in a thread that has the connection lent to it."""
    connection = tenancy.connection()
    connection.run_on_commit = hooks
    connection.run_and_clear_commit_hooks()


def _end_copy(pgconn: Any, status: ExecStatus) -> bool:
    """End a COPY that was cancelled; False where it goes on."""
    if status != ExecStatus.COPY_OUT:
        pgconn.put_copy_end(b"The tool has been stopped.")
        return True
    until = time.monotonic() + _CANCEL_TIMEOUT_S
    while pgconn.get_copy_data(0)[0] > 0:
        if time.monotonic() >= until:
            return False
    return True
