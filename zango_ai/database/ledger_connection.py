"""The ledger's own connection to the tenants' database: its rows outlive the caller's rollback.

It is a copy of the caller's connection in autocommit, one for each of the caller's, and is closed with it:
whatever closes connections in a process (the end of a request, a Celery worker, a test run) closes both, also
where the caller's has never been opened. It is not an alias in ``DATABASES``, so nothing creates, migrates, flushes
or forbids it by name. A connection pool, if the project uses one, is a second pool: a run never waits for the
connection that its caller holds.

What is executed on it again and again is prepared: PostgreSQL plans it once for each tenant, and not for each run.
"""

from __future__ import annotations

import copy
import os
import time
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, cast

from django.db import InterfaceError, OperationalError
from django.db.backends.base.base import BaseDatabaseWrapper
from psycopg.types.numeric import Int8Dumper

from .. import tenancy

ALIAS = "zango_ai_ledger"
LOCK_TIMEOUT_MS = 5_000
PREPARED_AFTER = 3
"""A statement that has been executed so often is prepared; of them psycopg keeps the 100 that were used last."""
_SETTINGS = f"""
SET lock_timeout = {LOCK_TIMEOUT_MS};
-- A role or a database may have another by default, at which statements fail to serialize.
SET default_transaction_isolation = 'read committed';
-- What is executed often finds its rows by their keys: no value of a parameter asks for a plan of its own.
SET plan_cache_mode = force_generic_plan
"""
_OWN = "_zango_ai_own"


@dataclass(slots=True)
class _Held:
    """The ledger's connection, as the caller's holds it."""

    pid: int
    own: BaseDatabaseWrapper
    opened_at: float = 0.0


def own_connection(caller: BaseDatabaseWrapper | None = None) -> BaseDatabaseWrapper:
    """This thread's ledger connection, open and in autocommit."""
    caller = tenancy.connection() if caller is None else caller
    held: _Held | None = getattr(caller, _OWN, None)
    if held is None or held.pid != os.getpid():
        # After a fork the parent process's socket is left alone: psycopg never closes a foreign one.
        if held is None:
            _close_together(caller)
        held = _Held(os.getpid(), _copy(caller))
        setattr(caller, _OWN, held)
    own = held.own
    own.close_if_unusable_or_obsolete()
    if own.connection is None:
        try:
            _open(own)
        except (OperationalError, InterfaceError):
            if cast(Any, own).connection is None:
                raise
            discard(own)  # a pool had a lost one
            _open(own)
        # Its age is looked at when the caller's is, and not in the middle of a run.
        held.opened_at, own.close_at = time.monotonic(), None
    return own


def _open(own: BaseDatabaseWrapper) -> None:
    own.ensure_connection()
    with own.cursor() as cursor:
        cursor.execute(_SETTINGS)
    # Of one type whatever its size: else each size is a statement of its own to prepare.
    cast(Any, own.connection).adapters.register_dumper(int, Int8Dumper)


def discard(own: BaseDatabaseWrapper) -> None:
    """Close it so that a pool does not keep it either."""
    with suppress(Exception):
        own.connection.close()
    own.close()


def give_up(own: BaseDatabaseWrapper) -> None:
    """Have the server stop what it is doing on the connection, and close it."""
    with suppress(Exception):
        own.connection.cancel()
    own.close()


def in_test_transaction(connection: BaseDatabaseWrapper) -> bool:
    """True inside Django's ``TestCase`` and pytest-django's ``db``, which mark their outer blocks."""
    return any(getattr(block, "_from_testcase", False) for block in connection.atomic_blocks)


def _copy(caller: BaseDatabaseWrapper) -> BaseDatabaseWrapper:
    settings = copy.deepcopy(caller.settings_dict)
    settings.update(AUTOCOMMIT=True, ATOMIC_REQUESTS=False)
    if not settings["OPTIONS"].get("pool"):
        # A connection that is lost is made anew when that shows; to ask before each statement is one more of them.
        settings["CONN_HEALTH_CHECKS"] = False
    # Single statements at PostgreSQL's default isolation never fail to serialize.
    settings["OPTIONS"].pop("isolation_level", None)
    settings["OPTIONS"]["server_side_binding"] = True
    settings["OPTIONS"].setdefault("prepare_threshold", PREPARED_AFTER)
    own = tenancy.plain_backend()(settings, ALIAS)
    # With DEBUG Django keeps each statement until the end of a request; nothing would ever empty this list.
    own.queries_log = deque(maxlen=0)
    return own


def _close_together(caller: Any) -> None:
    close_caller, close_old_caller = caller.close, caller.close_if_unusable_or_obsolete

    def close(*args: Any, **kwargs: Any) -> None:
        held: _Held = getattr(caller, _OWN)
        if held.pid == os.getpid():
            held.own.close()
        close_caller(*args, **kwargs)

    def close_if_unusable_or_obsolete() -> None:
        """At the end of a request or a task."""
        close_old_caller()
        held: _Held = getattr(caller, _OWN)
        most_s = caller.settings_dict["CONN_MAX_AGE"]
        if most_s is not None and held.pid == os.getpid() and time.monotonic() >= held.opened_at + most_s:
            held.own.close()

    caller.close, caller.close_if_unusable_or_obsolete = close, close_if_unusable_or_obsolete
