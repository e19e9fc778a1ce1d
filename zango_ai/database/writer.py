"""Execute the log's statements: each is a transaction of its own, and names its tables with their schema.

Schema-qualified names need no search path, so one connection serves every tenant and none of its state can
send a row to the wrong one.

Inside a test's transaction the caller's connection is used, and ``journal`` keeps what is written there.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

from django.db import DatabaseError, Error, InterfaceError, NotSupportedError, OperationalError
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Model
from psycopg import RawCursor

from .. import tenancy
from . import test_replay
from .ledger_connection import ALIAS, discard, give_up, in_test_transaction, own_connection

Params = Mapping[str, Any]
_NAMED = re.compile(r"%%|%\((\w+)\)s")
_DEADLOCK = "40P01"
_PLAN_OUTDATED = "0A000"
"""Of a prepared statement, after a migration has changed what it returns."""
Rows = list[tuple[Any, ...]]


def execute(sql: str, params: Params, *, lost: tuple[str, Params] | None = None) -> Rows:
    """Execute on the right connection, once more where it turns out to be lost; the rows that it returns.

    A statement may so be executed twice, and has to be one that then does nothing more. ``lost`` is what to make up
    for after the rollback of a test's block in which nothing can be executed.
    """
    caller = tenancy.connection()
    if in_test_transaction(caller):
        try:
            return once(caller, sql, params)
        except DatabaseError:
            if lost is not None:
                test_replay.remember(caller, *lost)
            raise
    own = own_connection(caller)
    try:
        return once(own, sql, params)
    except (OperationalError, InterfaceError, NotSupportedError) as exc:
        sqlstate = getattr(exc.__cause__, "sqlstate", None)
        if sqlstate != _DEADLOCK:
            if sqlstate != _PLAN_OUTDATED and own.is_usable():
                raise
            discard(own)
        return once(own_connection(caller), sql, params)
    except Error:
        raise
    except BaseException:
        # A time limit or Ctrl-C has cut in: the statement must not go on by itself when its run has been ended.
        give_up(own)
        raise


def is_in_test_transaction() -> bool:
    return in_test_transaction(tenancy.connection())


def remember(sql: str, params: Params) -> None:
    """In a test's transaction: what to execute again after a rollback of the code under test."""
    caller = tenancy.connection()
    if in_test_transaction(caller):
        test_replay.remember(caller, sql, params)


def table(schema: str, model: type[Model]) -> str:
    return f'{tenancy.quote(schema)}."{model._meta.db_table}"'.replace("%", "%%")


def names(columns: Iterable[str]) -> str:
    return ", ".join(f'"{name}"' for name in columns)


def marks(columns: Iterable[str], prefix: str) -> str:
    """A placeholder for each of them; the ``params()`` of their values have the same ``prefix``."""
    return ", ".join(f"%({prefix}_{name})s" for name in columns)


def assignments(columns: Iterable[str], prefix: str) -> str:
    return ", ".join(f'"{name}" = %({prefix}_{name})s' for name in columns)


def params(values: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    return {f"{prefix}_{name}": value for name, value in values.items()}


def upsert(columns: Iterable[str], unique: str) -> str:
    """What an INSERT does where the row is there already: the same columns, set to the same values."""
    kept = ", ".join(f'"{name}" = EXCLUDED."{name}"' for name in columns)
    return f'ON CONFLICT ("{unique}") DO UPDATE SET {kept}'


def once(connection: BaseDatabaseWrapper, sql: str, params: Params) -> Rows:
    """Execute on that connection, and leave its errors to the caller."""
    if connection.alias == ALIAS and not (";" in sql or connection.execute_wrappers or connection.queries_logged):
        # Past Django's cursors, whose work nobody asks to see.
        with connection.wrap_database_errors:
            numbered, wanted = _numbered(sql)
            raw: Any = RawCursor(connection.connection)
            raw.execute(numbered, [params[name] for name in wanted])
            return raw.fetchall() if raw.pgresult.nfields else []
    with tenancy.bare_cursor(connection, sql) as cursor:
        cursor.execute(sql, params)
        return list(cursor.fetchall()) if cursor.description else []


@lru_cache(2048)
def _numbered(sql: str) -> tuple[bytes, list[str]]:
    """With PostgreSQL's own placeholders ($1) for the named ones, and the names in their order."""
    numbers: dict[str, str] = {}

    def number(found: re.Match[str]) -> str:
        name = found[1]
        return "%" if name is None else numbers.setdefault(name, f"${len(numbers) + 1}")

    return _NAMED.sub(number, sql).encode(), list(numbers)
