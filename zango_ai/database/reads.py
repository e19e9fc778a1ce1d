"""Read rows for a run.

Inside the caller's transaction, on the caller's connection: it sees what is not committed yet. Outside of one, on
the ledger's, where what is read again and again is prepared; or where that cannot be had, on the caller's.

Where the caller's transaction is broken (it caught a database error inside ``atomic()``), PostgreSQL answers
nothing on it. Then the ledger's connection is asked, too: it sees what is committed.
"""

from __future__ import annotations

from contextlib import suppress

from django.db import DatabaseError, OperationalError
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.transaction import TransactionManagementError
from psycopg.pq import TransactionStatus

from .. import tenancy
from . import ledger_connection, writer
from .writer import Params, Rows

_IN_FAILED_TRANSACTION = "25P02"
_AT_REST = {TransactionStatus.IDLE, TransactionStatus.UNKNOWN}


def rows(sql: str, params: Params) -> Rows:
    """The rows that a query returns. It names its tables with their schema. Raises NotMigrated."""
    with tenancy.needs_tables(tenancy.current_schema()):
        return _rows(sql, params)


def _rows(sql: str, params: Params) -> Rows:
    caller = tenancy.connection()
    if _is_free(caller):
        with suppress(OperationalError):
            return writer.execute(sql, params)
    try:
        return writer.once(caller, sql, params)
    except DatabaseError as exc:
        if not _is_broken(exc) or ledger_connection.in_test_transaction(caller):
            raise
    return writer.execute(sql, params)


def _is_free(caller: BaseDatabaseWrapper) -> bool:
    """Whether it has no transaction open."""
    raw = caller.connection
    if raw is None:
        return not caller.in_atomic_block
    # Nor one that was begun in SQL. A connection that is lost has none.
    status = raw.info.transaction_status
    return caller.autocommit and not caller.in_atomic_block and status in _AT_REST


def _is_broken(exc: DatabaseError) -> bool:
    return isinstance(exc, TransactionManagementError) or (
        getattr(exc.__cause__, "sqlstate", None) == _IN_FAILED_TRANSACTION
    )
