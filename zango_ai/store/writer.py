"""Write the log's rows: single statements, each in its own transaction, named by schema.

Schema-qualified names need no search path, so one connection serves every tenant and none of its state can
send a row to the wrong one.

Inside a test's transaction the caller's connection is used, and ``journal`` keeps what is written there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from django.db import DatabaseError, InterfaceError, OperationalError
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Model

from .. import tenancy
from . import journal
from .own_connection import in_test_transaction, own_connection


class Json(str):
    """Text that is a JSON document."""


def insert(schema: str, model: type[Model], values: Mapping[str, Any], *, unique: Sequence[str]) -> int:
    """Insert a row; its primary key. A row that is there by the ``unique`` columns is that row."""
    sql, params = _insertion(schema, model, values)
    columns = ", ".join(f'"{name}"' for name in unique)
    # Written twice where the connection was lost after the first time: an update of nothing returns the key.
    upsert = f'{sql} ON CONFLICT ({columns}) DO UPDATE SET "{unique[0]}" = EXCLUDED."{unique[0]}" RETURNING id'
    key = _execute(upsert, params, lost=(sql, params))
    caller = tenancy.connection()
    if in_test_transaction(caller):
        journal.remember(caller, *_insertion(schema, model, {"id": key, **values}))
    return key


def update(schema: str, model: type[Model], key: int, values: Mapping[str, Any]) -> None:
    """Change a row."""
    assignments = ", ".join(f'"{name}" = {_mark(value)}' for name, value in values.items())
    sql = f"UPDATE {_table(schema, model)} SET {assignments} WHERE id = %s"
    params = [*_params(values), key]
    _execute(sql, params, lost=(sql, params))
    caller = tenancy.connection()
    if in_test_transaction(caller):
        journal.remember(caller, sql, params)


def _execute(sql: str, params: Sequence[Any], *, lost: tuple[str, Sequence[Any]]) -> int:
    """Execute on the right connection, once more where it turns out to be lost; the first value returned.

    ``lost`` is what to make up for after the rollback of a test's block in which nothing can be executed.
    """
    caller = tenancy.connection()
    if in_test_transaction(caller):
        try:
            return _once(caller, sql, params)
        except DatabaseError:
            journal.remember(caller, *lost)
            raise
    own = own_connection()
    try:
        return _once(own, sql, params)
    except (OperationalError, InterfaceError):
        if own.is_usable():
            raise
        own.close()
        return _once(own_connection(), sql, params)


def _once(connection: BaseDatabaseWrapper, sql: str, params: Sequence[Any]) -> int:
    with connection.cursor() as cursor:
        cursor.execute(sql, params)
        return int(cursor.fetchone()[0]) if cursor.description else 0


def _insertion(schema: str, model: type[Model], values: Mapping[str, Any]) -> tuple[str, list[Any]]:
    names = ", ".join(f'"{name}"' for name in values)
    marks = ", ".join(_mark(value) for value in values.values())
    return f"INSERT INTO {_table(schema, model)} ({names}) VALUES ({marks})", _params(values)


def _params(values: Mapping[str, Any]) -> list[Any]:
    return [str(value) if isinstance(value, Json) else value for value in values.values()]


def _mark(value: Any) -> str:
    return "%s::jsonb" if isinstance(value, Json) else "%s"


def _table(schema: str, model: type[Model]) -> str:
    return f'{tenancy.quote(schema)}."{model._meta.db_table}"'.replace("%", "%%")
