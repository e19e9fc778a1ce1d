"""The ledger's own connection to the tenants' database, so that its rows survive the caller's rollback.

It is a copy of the caller's connection in autocommit mode: one for each of the caller's connections, and closed
together with it. So everything that closes connections in a process (the end of a request, a Celery worker, a
test run) closes both. It is not an alias in ``DATABASES``, so no command creates, migrates, flushes or forbids
it. With a connection pool, it has a second pool: a run never waits for the connection that its caller uses.

Frequent statements are prepared: PostgreSQL plans them once per tenant, not once per run.
"""

from __future__ import annotations

import copy
import os
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, cast

from django.db import InterfaceError, OperationalError
from django.db.backends.base.base import BaseDatabaseWrapper
from psycopg.types.numeric import Int8Dumper

from .. import tenancy

ALIAS = "zango_ai_ledger"
LOCK_TIMEOUT_MS = 5_000
PREPARED_AFTER = 3
"""psycopg prepares a statement after this many executions, and keeps the 100 most recently used."""
_SETTINGS = f"""
SET lock_timeout = {LOCK_TIMEOUT_MS};
-- A role or a database may have another default, at which statements fail to serialize.
SET default_transaction_isolation = 'read committed';
-- Frequent statements find their rows by key, so no parameter value needs a plan of its own.
SET plan_cache_mode = force_generic_plan
"""
_ATTRIBUTE = "_zango_ai_ledger_connection"


@dataclass(slots=True)
class _Copy:
    """The ledger's connection, stored on the caller's."""

    pid: int
    """The process that made it."""
    connection: BaseDatabaseWrapper
    opened_at: float = 0.0


def own_connection(caller: BaseDatabaseWrapper | None = None) -> BaseDatabaseWrapper:
    """The ledger's connection of this thread, open and in autocommit mode."""
    caller = tenancy.connection() if caller is None else caller
    stored: _Copy | None = getattr(caller, _ATTRIBUTE, None)
    if stored is None or stored.pid != os.getpid():
        # After a fork, the parent's socket is left alone: psycopg never closes a connection of another process.
        if stored is None:
            _close_together(caller)
        stored = _Copy(os.getpid(), _copy(caller))
        setattr(caller, _ATTRIBUTE, stored)
    own = stored.connection
    own.close_if_unusable_or_obsolete()
    if own.connection is None:
        try:
            _open(own)
        except (OperationalError, InterfaceError):
            if cast(Any, own).connection is None:
                raise
            discard(own)  # the pool returned a connection that was lost
            _open(own)
        # CONN_MAX_AGE is checked when the caller's connection is, and never in the middle of a run.
        stored.opened_at, own.close_at = time.monotonic(), None
    return own


def _open(own: BaseDatabaseWrapper) -> None:
    own.ensure_connection()
    with own.cursor() as cursor:
        cursor.execute(_SETTINGS)
    # By default psycopg's type of an int depends on its size, and each type would be a statement to prepare.
    cast(Any, own.connection).adapters.register_dumper(int, Int8Dumper)


def discard(own: BaseDatabaseWrapper) -> None:
    """Close the connection so that a pool does not keep it."""
    with suppress(Exception):
        own.connection.close()
    own.close()


def cancel_and_close(own: BaseDatabaseWrapper) -> None:
    """Cancel the statement that the server is executing, and close the connection."""
    with suppress(Exception):
        own.connection.cancel()
    own.close()


@contextmanager
def listening(channel: str) -> Iterator[Any]:
    """A connection of psycopg that listens on the channel. It is opened for the block, and never from a pool."""
    own = _copy(tenancy.connection())
    own.settings_dict["OPTIONS"].pop("pool", None)
    try:
        own.ensure_connection()
        connection = cast(Any, own.connection)
        connection.execute(f"LISTEN {channel}")
        yield connection
    finally:
        own.close()


def in_test_transaction(connection: BaseDatabaseWrapper) -> bool:
    """Whether the connection is inside the transaction of a ``TestCase`` or of pytest-django's ``db``."""
    return any(getattr(block, "_from_testcase", False) for block in connection.atomic_blocks)


def _copy(caller: BaseDatabaseWrapper) -> BaseDatabaseWrapper:
    settings = copy.deepcopy(caller.settings_dict)
    settings.update(AUTOCOMMIT=True, ATOMIC_REQUESTS=False)
    if not settings["OPTIONS"].get("pool"):
        # ``writer`` reconnects when a statement fails. A health check would cost one more round trip.
        settings["CONN_HEALTH_CHECKS"] = False
    # Single statements at PostgreSQL's default isolation never fail to serialize.
    settings["OPTIONS"].pop("isolation_level", None)
    settings["OPTIONS"]["server_side_binding"] = True
    settings["OPTIONS"].setdefault("prepare_threshold", PREPARED_AFTER)
    own = tenancy.plain_backend()(settings, ALIAS)
    own.inc_thread_sharing()  # a thread that has borrowed the caller's connection uses this one too
    # With DEBUG, Django collects each statement until the end of a request; nothing would empty this list.
    own.queries_log = deque(maxlen=0)
    return own


def _close_together(caller: Any) -> None:
    """Close the ledger's connection whenever the caller's is closed."""
    close_caller, close_old_caller = caller.close, caller.close_if_unusable_or_obsolete

    def close(*args: Any, **kwargs: Any) -> None:
        stored: _Copy = getattr(caller, _ATTRIBUTE)
        if stored.pid == os.getpid():
            stored.connection.close()
        close_caller(*args, **kwargs)

    def close_if_unusable_or_obsolete() -> None:
        """Django calls it at the end of a request, and Celery at the end of a task."""
        close_old_caller()
        stored: _Copy = getattr(caller, _ATTRIBUTE)
        max_age_s = caller.settings_dict["CONN_MAX_AGE"]
        is_old = max_age_s is not None and time.monotonic() >= stored.opened_at + max_age_s
        if is_old and stored.pid == os.getpid():
            stored.connection.close()

    caller.close, caller.close_if_unusable_or_obsolete = close, close_if_unusable_or_obsolete
