"""Write the rows of a tenant's tools from the tools that the code declares."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from django.db import transaction

from .. import tenancy
from ..exceptions import ToolDeclarationInvalid
from ..models import Tool
from ..tools import DeclaredTool, registry


@dataclass(frozen=True, slots=True)
class Report:
    """The result of ``sync()``: names of tools. Each is in at most one list."""

    new: list[str]
    changed: list[str]
    """The declaration changed, or is back after it was removed."""
    gone: list[str]
    """No longer declared. The row is inactive, and kept for the log."""
    invalid: list[str] = field(default_factory=list)
    """The errors of invalid declarations, as ``manage.py check`` reports them. Their rows are unchanged."""

    def __str__(self) -> str:
        changes = [f"{len(names)} {word} ({', '.join(names)})" for word, names in self._parts() if names]
        return "; ".join([*changes, *self.invalid]) or "nothing has changed"

    def _parts(self) -> tuple[tuple[str, list[str]], ...]:
        return ("new", self.new), ("changed", self.changed), ("gone", self.gone)


def sync() -> Report:
    """Write the rows of the current schema."""
    declared, invalid = _declared()
    with transaction.atomic(using=tenancy.connection().alias):
        rows = {row.name: row for row in Tool.objects.select_for_update().order_by("name")}
        report = _compare(rows, declared, invalid)
        # Another process may sync at the same time.
        Tool.objects.bulk_create([Tool(**declared[name]) for name in report.new], ignore_conflicts=True)
        for name in report.changed:
            for column, value in declared[name].items():
                setattr(rows[name], column, value)
            rows[name].save()
        for name in report.gone:
            rows[name].is_active = False
            rows[name].save(update_fields=["is_active", "updated_at"])
    return report


def pending() -> Report:
    """What ``sync()`` would change in the current schema."""
    return _compare({row.name: row for row in Tool.objects.order_by("name")}, *_declared())


def _declared() -> tuple[dict[str, dict[str, Any]], dict[str, str]]:
    """The columns of each valid declaration, and the errors of the others, by name."""
    declared: dict[str, dict[str, Any]] = {}
    invalid: dict[str, str] = {}
    for tool in registry.all_tools():
        try:
            declared[tool.name] = _columns(tool)
        except ToolDeclarationInvalid as exc:
            invalid[tool.name] = str(exc)
    return declared, invalid


def _compare(
    rows: Mapping[str, Tool], declared: Mapping[str, dict[str, Any]], invalid: Mapping[str, str]
) -> Report:
    new = [name for name in declared if name not in rows]
    changed = [name for name, row in rows.items() if name in declared and not _is_current(row, declared[name])]
    gone = [name for name, row in rows.items() if name not in {*declared, *invalid} and row.is_active]
    return Report(new, changed, gone, list(invalid.values()))


def _is_current(row: Tool, columns: dict[str, Any]) -> bool:
    return row.is_active and row.schema_hash == columns["schema_hash"]


def _columns(tool: DeclaredTool) -> dict[str, Any]:
    columns = {
        "name": tool.name,
        "description": tool.description,
        "section": tool.section,
        "parameters_schema": dict(tool.parameters_schema),
        "python_path": tool.python_path,
        "safety": tool.safety.value,
        "timeout_seconds": float(tool.timeout_seconds),
        "rate_limit_rpm": tool.rate_limit,
        "return_type": tool.parameters.return_type[:500],
        "memory_policy": tool.memory_policy,
        "requires_approval": tool.requires_approval,
    }
    schema_hash = hashlib.sha256(json.dumps(columns, sort_keys=True).encode()).hexdigest()
    return {**columns, "schema_hash": schema_hash, "is_active": True}
