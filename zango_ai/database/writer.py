"""Execute the ledger's statements on its own connection.

Each statement is a transaction of its own and names its tables with their schema. So one connection serves every
tenant, and no search path can send a row to the wrong one.

Inside the transaction of a Django ``TestCase``, the caller's connection is used, and ``replay_in_tests`` keeps what
was written there.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache, partial
from typing import Any

from django.db import DatabaseError, Error, InterfaceError, NotSupportedError, OperationalError
from django.db.backends.base.base import BaseDatabaseWrapper
from psycopg import RawCursor

from .. import tenancy
from . import replay_in_tests
from .ledger_connection import ALIAS, cancel_and_close, discard, in_test_transaction, own_connection

Params = Mapping[str, Any]
Rows = list[tuple[Any, ...]]
Statement = tuple[str, Params]
Replay = Callable[[Rows], Statement | None]

_PLACEHOLDER = re.compile(r"%%|%\((\w+)\)s")
_DEADLOCK = "40P01"
_OUTDATED_PLAN = "0A000"
"""PostgreSQL's error when a migration has changed what a prepared statement returns."""


def execute(sql: str, params: Params, *, replay: Replay | None = None, is_replayed_on_error: bool = False) -> Rows:
    """Execute a statement that writes, and return its rows.

    If the connection was lost, the statement is executed a second time. So write statements that change nothing
    when they are executed again.

    Only inside a test's transaction: after a rollback of the code under test, the statement is executed again.
    ``replay`` receives the rows and returns the statement to execute instead, or None. ``is_replayed_on_error``
    replays the statement also when it fails, as every statement does in a broken transaction.
    """
    tenancy.require_postgresql()
    caller = tenancy.connection()
    if not in_test_transaction(caller):
        return _execute_on_ledger(caller, sql, params)
    try:
        rows = execute_on(caller, sql, params)
    except DatabaseError:
        if is_replayed_on_error:
            replay_in_tests.keep(caller, sql, params)
        raise
    statement = (sql, params) if replay is None else replay(rows)
    if statement is not None:
        replay_in_tests.keep(caller, *statement)
    return rows


def query(sql: str, params: Params) -> Rows:
    """Execute a statement that only reads, and return its rows."""
    tenancy.require_postgresql()
    caller = tenancy.connection()
    if in_test_transaction(caller):
        return execute_on(caller, sql, params)
    return _execute_on_ledger(caller, sql, params)


@contextmanager
def transaction() -> Iterator[Callable[[str, Params], Rows]]:
    """Several statements in one transaction: yields what executes one. After an error, nothing is repeated."""
    caller = tenancy.connection()
    if in_test_transaction(caller):
        yield partial(execute_on, caller)
        return
    own = own_connection(caller)
    own.set_autocommit(False)
    try:
        yield partial(execute_on, own)
        own.commit()
    except BaseException:
        own.rollback()
        raise
    finally:
        own.set_autocommit(True)


def is_in_test_transaction() -> bool:
    """Whether the ledger shares the caller's connection, inside the transaction of a test."""
    return in_test_transaction(tenancy.connection())


def _execute_on_ledger(caller: BaseDatabaseWrapper, sql: str, params: Params) -> Rows:
    own = own_connection(caller)
    try:
        return execute_on(own, sql, params)
    except (OperationalError, InterfaceError, NotSupportedError) as exc:
        sqlstate = getattr(exc.__cause__, "sqlstate", None)
        if sqlstate != _DEADLOCK:
            if sqlstate != _OUTDATED_PLAN and own.is_usable():
                raise
            discard(own)
        return execute_on(own_connection(caller), sql, params)
    except Error:
        raise
    except BaseException:
        # A time limit or Ctrl-C: the server must not finish the statement after its run has ended.
        cancel_and_close(own)
        raise


def execute_on(connection: BaseDatabaseWrapper, sql: str, params: Params) -> Rows:
    """Execute once on this connection, without handling its errors."""
    if connection.alias == ALIAS and not (";" in sql or connection.execute_wrappers or connection.queries_logged):
        # Nobody watches this connection's queries, so skip the work of Django's cursors.
        with connection.wrap_database_errors:
            numbered, names = _numbered(sql)
            cursor: Any = RawCursor(connection.connection)
            cursor.execute(numbered, [params[name] for name in names])
            return cursor.fetchall() if cursor.pgresult.nfields else []
    with tenancy.bare_cursor(connection, sql) as cursor:
        cursor.execute(sql, params)
        return list(cursor.fetchall()) if cursor.description else []


@lru_cache(2048)
def _numbered(sql: str) -> tuple[bytes, list[str]]:
    """The statement with PostgreSQL's placeholders ($1) in place of the named ones, and the names in order."""
    numbers: dict[str, str] = {}

    def numbered(match: re.Match[str]) -> str:
        name = match[1]
        return "%" if name is None else numbers.setdefault(name, f"${len(numbers) + 1}")

    return _PLACEHOLDER.sub(numbered, sql).encode(), list(numbers)
