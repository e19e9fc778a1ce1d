"""Read rows for a run: on the caller's connection, which sees what the caller has not committed.

Where the caller's transaction is broken (it caught a database error inside ``atomic()``), PostgreSQL answers
nothing on it. Then the ledger's own connection is asked, which sees what is committed.
"""

from __future__ import annotations

from typing import Any

from django.db import DatabaseError
from django.db.models import QuerySet
from django.db.transaction import TransactionManagementError

from .. import tenancy
from . import own_connection

_IN_FAILED_TRANSACTION = "25P02"


def rows(query: QuerySet[Any, Any]) -> list[dict[str, Any]]:
    """The rows of a ``values()`` query in the current schema."""
    try:
        return list(query)
    except DatabaseError as exc:
        caller = tenancy.connection()
        if not _is_broken(exc) or own_connection.in_test_transaction(caller):
            raise
    return _committed(query)


def _is_broken(exc: DatabaseError) -> bool:
    return isinstance(exc, TransactionManagementError) or (
        getattr(exc.__cause__, "sqlstate", None) == _IN_FAILED_TRANSACTION
    )


def _committed(query: QuerySet[Any, Any]) -> list[dict[str, Any]]:
    own = own_connection.own_connection()
    compiler = query.query.get_compiler(connection=own)
    selected = query.query.selected or (*query.query.values_select, *query.query.annotation_select)
    own.set_autocommit(False)
    try:
        with own.cursor() as cursor:
            cursor.execute(f"SET LOCAL search_path = {tenancy.quote(tenancy.current_schema())}, public")
        return [dict(zip(selected, row, strict=True)) for row in compiler.results_iter()]
    finally:
        own.rollback()
        own.set_autocommit(True)
