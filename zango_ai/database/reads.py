"""Read configuration rows for a run, and see what the caller sees.

- Inside the caller's transaction: on the caller's connection, which sees uncommitted changes.
- Outside of one: on the ledger's connection, where frequent queries are prepared. If that connection cannot be
  opened, on the caller's.
- Inside a broken transaction (the caller caught a database error inside ``atomic()``): on the ledger's connection,
  which sees committed rows. PostgreSQL rejects every query on the caller's.
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
_NO_TRANSACTION = {TransactionStatus.IDLE, TransactionStatus.UNKNOWN}
"""A lost connection has the status UNKNOWN, and no transaction."""


def rows(sql: str, params: Params) -> Rows:
    """The rows of a query that names its tables with their schema. Raises NotMigrated, DatabaseNotSupported."""
    tenancy.require_postgresql()
    with tenancy.needs_tables(tenancy.current_schema()):
        return _rows(sql, params)


def _rows(sql: str, params: Params) -> Rows:
    caller = tenancy.connection()
    if not _has_transaction(caller):
        with suppress(OperationalError):
            return writer.query(sql, params)
    try:
        return writer.execute_on(caller, sql, params)
    except DatabaseError as exc:
        if not _is_broken_transaction(exc) or ledger_connection.in_test_transaction(caller):
            raise
    return writer.query(sql, params)


def _has_transaction(caller: BaseDatabaseWrapper) -> bool:
    """Whether a transaction is open, also one that was started with a ``BEGIN`` in SQL."""
    raw = caller.connection
    if caller.in_atomic_block or raw is None:
        return caller.in_atomic_block
    return not caller.autocommit or raw.info.transaction_status not in _NO_TRANSACTION


def _is_broken_transaction(exc: DatabaseError) -> bool:
    return isinstance(exc, TransactionManagementError) or (
        getattr(exc.__cause__, "sqlstate", None) == _IN_FAILED_TRANSACTION
    )
