"""Execute the log's statements: each is a transaction of its own, and names its tables with their schema.

Schema-qualified names need no search path, so one connection serves every tenant and none of its state can
send a row to the wrong one.

Inside a test's transaction the caller's connection is used, and ``journal`` keeps what is written there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from django.db import DatabaseError, Error, InterfaceError, OperationalError
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Model

from .. import tenancy
from . import journal
from .own_connection import give_up, in_test_transaction, own_connection

Params = Mapping[str, Any]
_DEADLOCK = "40P01"
Rows = list[tuple[Any, ...]]


class Json(str):
    """Text that is a JSON document."""


def execute(sql: str, params: Params, *, lost: tuple[str, Params] | None = None) -> Rows:
    """Execute on the right connection, once more where it turns out to be lost; the rows that it returns.

    A statement may so be executed twice, and has to be one that then does nothing more. ``lost`` is what to make up
    for after the rollback of a test's block in which nothing can be executed.
    """
    caller = tenancy.connection()
    if in_test_transaction(caller):
        try:
            return _once(caller, sql, params)
        except DatabaseError:
            if lost is not None:
                journal.remember(caller, *lost)
            raise
    own = own_connection()
    try:
        return _once(own, sql, params)
    except (OperationalError, InterfaceError) as exc:
        if getattr(exc.__cause__, "sqlstate", None) != _DEADLOCK:
            if own.is_usable():
                raise
            own.close()
        return _once(own_connection(), sql, params)
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
        journal.remember(caller, sql, params)


def table(schema: str, model: type[Model]) -> str:
    return f'{tenancy.quote(schema)}."{model._meta.db_table}"'.replace("%", "%%")


def names(values: Mapping[str, Any]) -> str:
    """The columns of ``values``, in their order."""
    return ", ".join(f'"{name}"' for name in values)


def marks(values: Mapping[str, Any], prefix: str) -> str:
    """A placeholder for each of ``values``; their ``params()`` have the same ``prefix``."""
    return ", ".join(_mark(name, value, prefix) for name, value in values.items())


def assignments(values: Mapping[str, Any], prefix: str) -> str:
    return ", ".join(f'"{name}" = {_mark(name, value, prefix)}' for name, value in values.items())


def params(values: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    return {f"{prefix}_{name}": str(v) if isinstance(v, Json) else v for name, v in values.items()}


def upsert(columns: Sequence[str] | Mapping[str, Any], unique: str) -> str:
    """What an INSERT does where the row is there already: the same columns, set to the same values."""
    kept = ", ".join(f'"{name}" = EXCLUDED."{name}"' for name in columns)
    return f'ON CONFLICT ("{unique}") DO UPDATE SET {kept}'


def _once(connection: BaseDatabaseWrapper, sql: str, params: Params) -> Rows:
    with connection.cursor() as cursor:
        cursor.execute(sql, params)
        return list(cursor.fetchall()) if cursor.description else []


def _mark(name: str, value: Any, prefix: str) -> str:
    return f"%({prefix}_{name})s" + ("::jsonb" if isinstance(value, Json) else "")
