"""Build SQL: table names with their schema, lists of columns, and named parameters.

The column names come from our own models, never from callers. Values are always parameters.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from django.db.models import Model

from .. import tenancy


def table(schema: str, model: type[Model]) -> str:
    """The model's table in the schema, quoted for a statement that has parameters."""
    return tenancy.qualified(schema, model._meta.db_table).replace("%", "%%")


def column_list(columns: Iterable[str]) -> str:
    """``"status", "model"``"""
    return ", ".join(f'"{name}"' for name in columns)


def placeholders(columns: Iterable[str], prefix: str) -> str:
    """``%(run_status)s, %(run_model)s``: ``parameters()`` with the same prefix gives their values."""
    return ", ".join(f"%({prefix}_{name})s" for name in columns)


def assignments(columns: Iterable[str], prefix: str) -> str:
    """``"status" = %(run_status)s, "model" = %(run_model)s``"""
    return ", ".join(f'"{name}" = %({prefix}_{name})s' for name in columns)


def parameters(values: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    """The values under the names that ``placeholders()`` and ``assignments()`` use."""
    return {f"{prefix}_{name}": value for name, value in values.items()}


def upsert(columns: Iterable[str], unique: str) -> str:
    """The end of an INSERT that updates these columns when the row exists already."""
    updates = ", ".join(f'"{name}" = EXCLUDED."{name}"' for name in columns)
    return f'ON CONFLICT ("{unique}") DO UPDATE SET {updates}'


def in_list(values: Iterable[str]) -> str:
    """``('running', 'abandoned')``, of the values of an enumeration."""
    return "(" + ", ".join(f"'{value}'" for value in values) + ")"
