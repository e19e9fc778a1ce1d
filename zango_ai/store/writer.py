"""Write the log's rows: single statements, each in its own transaction, named by schema.

Schema-qualified names need no search path, so one connection serves every tenant and none of its state can
send a row to the wrong one.

Inside a test's transaction the caller's connection is used, and ``journal`` keeps what is written there.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Model

from .. import tenancy
from . import journal
from .own_connection import in_test_transaction, own_connection


class Json(str):
    """Text that is a JSON document."""


def insert(schema: str, model: type[Model], values: Mapping[str, Any]) -> int:
    """Insert a row; its primary key."""
    connection = _connection()
    sql, params = _insertion(schema, model, values)
    with connection.cursor() as cursor:
        cursor.execute(f"{sql} RETURNING id", params)
        key = int(cursor.fetchone()[0])
    if in_test_transaction(connection):
        journal.remember(connection, *_insertion(schema, model, {"id": key, **values}))
    return key


def update(schema: str, model: type[Model], key: int, values: Mapping[str, Any]) -> None:
    """Change a row."""
    connection = _connection()
    assignments = ", ".join(f'"{name}" = {_mark(value)}' for name, value in values.items())
    sql = f"UPDATE {_table(schema, model)} SET {assignments} WHERE id = %s"
    params = [*_params(values), key]
    with connection.cursor() as cursor:
        cursor.execute(sql, params)
    if in_test_transaction(connection):
        journal.remember(connection, sql, params)


def _connection() -> BaseDatabaseWrapper:
    caller = tenancy.connection()
    return caller if in_test_transaction(caller) else own_connection()


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
