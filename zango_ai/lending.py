"""Lend the caller's database connection to a function in another thread, and take it back.

The function gets a wrapper of its own around the same connection to the server: it sees the caller's transaction,
and what Django notes of blocks and savepoints in it stays its own. When its time is over the wrapper is made
useless, whatever the function still does; so the caller has its connection for itself again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TypeVar

from django.db import connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from psycopg.pq import TransactionStatus

from . import tenancy

T = TypeVar("T")

_CANCEL_TIMEOUT_S = 2.0
_OF_THE_SESSION = (
    "connection",
    "autocommit",
    "in_atomic_block",
    "savepoint_state",
    "commit_on_exit",
    "needs_rollback",
    "close_at",
    "execute_wrappers",
    "queries_log",
    "force_debug_cursor",
    *("tenant", "schema_name", "include_public_schema"),
)
"""What a wrapper knows of its connection, its transaction and its tenant."""


class TransactionBroken(Exception):
    """The function has left the transaction so that nothing can be done in it any more."""


class Lent:
    """The caller's connection, for one call of a function."""

    def __init__(self) -> None:
        self._caller = tenancy.connection()
        self._caller.ensure_connection()
        self.is_left_behind = False
        """Whether the function could not be stopped, and may still hold something of the connection."""
        self._wrapper: BaseDatabaseWrapper | None = None
        self._was_broken = _is_broken(self._caller)

    @contextmanager
    def transaction(self, *, is_read_only: bool, is_atomic: bool) -> Iterator[None]:
        """Around the call, in the caller's thread: what it wrote stays, or where the block raises, is undone.

        ``is_atomic`` asks for that also where the caller has no transaction open.
        """
        is_free = not self._caller.in_atomic_block
        try:
            if self._was_broken or (is_free and not (is_read_only or is_atomic)):
                with self._used():
                    yield
                return
            with transaction.atomic(using=self._caller.alias):
                if is_read_only:
                    with self._caller.cursor() as cursor:
                        # Until the savepoint ends. By a query, since PostgreSQL lets a transaction be made
                        # writable again as long as it has had none.
                        cursor.execute("SELECT set_config('transaction_read_only', 'on', true)")
                with self._used():
                    yield
        finally:
            if is_free and (self.is_left_behind or _status(self._caller) != TransactionStatus.IDLE):
                self._caller.close()  # nothing of the caller's is lost with it

    @contextmanager
    def _used(self) -> Iterator[None]:
        """Afterwards the caller has its connection back. Raises TransactionBroken where only a rollback helps."""
        try:
            yield
            self._take_over()
        finally:
            self._revoke()

    def use(self, function: Callable[[], T]) -> T:
        """Call the function in this thread, which is not the caller's, with the connection in its place."""
        alias = self._caller.alias
        lent = self._wrapper = _wrapper_of(self._caller)
        # It is the caller's to close: close_old_connections() in a tool must not.
        lent.close = lambda: None  # type: ignore[method-assign]
        connections[alias] = lent
        try:
            return function()
        finally:
            lent.close()  # of it alone what an agent in the tool has opened for its log
            for other in connections.all(initialized_only=True):
                if other is not lent:
                    other.close()

    def _take_over(self) -> None:
        lent, caller = self._wrapper, self._caller
        if lent is None or self._was_broken or not caller.in_atomic_block:
            return
        if lent.needs_rollback or _is_broken(caller):
            raise TransactionBroken
        caller.run_on_commit.extend(lent.run_on_commit)

    def _revoke(self) -> None:
        """Make the wrapper useless, and the cursors that the function still has of it."""
        self._caller.search_path_set_schemas = None  # type: ignore[attr-defined]  # whatever the function has set
        if self._wrapper is not None:
            self._wrapper.in_atomic_block = self._wrapper.needs_rollback = True
            self._wrapper.closed_in_transaction = True
            self._wrapper.connection = None

    def cancel(self) -> None:
        """Have the server stop the statement that the function waits for."""
        raw = self._caller.connection
        if raw is not None and not raw.closed and raw.info.transaction_status == TransactionStatus.ACTIVE:
            with suppress(Exception):
                raw.cancel_safe(timeout=_CANCEL_TIMEOUT_S)


def _wrapper_of(caller: BaseDatabaseWrapper) -> BaseDatabaseWrapper:
    lent = caller.copy()
    for name in _OF_THE_SESSION:
        setattr(lent, name, getattr(caller, name))
    lent.savepoint_ids = list(caller.savepoint_ids)
    lent.atomic_blocks = list(caller.atomic_blocks)
    lent.settings_dict["SCHEMA"] = caller.schema_name  # type: ignore[attr-defined]
    return lent


def _status(wrapper: BaseDatabaseWrapper) -> TransactionStatus:
    return wrapper.connection.info.transaction_status  # type: ignore[no-any-return]


def _is_broken(wrapper: BaseDatabaseWrapper) -> bool:
    return wrapper.needs_rollback or _status(wrapper) == TransactionStatus.INERROR
