"""The rows of a tenant's tools, as the code declares them."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from typing import Any

from django.db import transaction

from .. import tenancy
from ..exceptions import ToolDeclarationInvalid
from ..models import Tool
from ..tools import DeclaredTool, registry


@dataclass(frozen=True, slots=True)
class Report:
    """Names of tools; each tool is in one of them at most."""

    new: list[str]
    changed: list[str]
    """Declared anew in another way, or declared again after it had been gone."""
    gone: list[str]
    """Not declared any more: inactive, and kept for the log."""
    invalid: list[str] = field(default_factory=list)
    """Why tools have no row, or keep the one that they had: what ``manage.py check`` says."""

    def __str__(self) -> str:
        said = [f"{len(names)} {word} ({', '.join(names)})" for word, names in self._parts() if names]
        return "; ".join([*said, *self.invalid]) or "nothing has changed"

    def _parts(self) -> tuple[tuple[str, list[str]], ...]:
        return ("new", self.new), ("changed", self.changed), ("gone", self.gone)


def sync() -> Report:
    """Write the rows of the current schema."""
    declared: dict[str, dict[str, Any]] = {}
    invalid: dict[str, str] = {}
    for made in registry.all_tools():
        try:
            declared[made.name] = _columns(made)
        except ToolDeclarationInvalid as exc:
            invalid[made.name] = str(exc)
    with transaction.atomic(using=tenancy.connection().alias):
        rows = {row.name: row for row in Tool.objects.select_for_update().order_by("name")}
        new = [name for name in declared if name not in rows]
        changed = [name for name, row in rows.items() if name in declared and not _is_current(row, declared[name])]
        gone = [name for name, row in rows.items() if name not in {*declared, *invalid} and row.is_active]
        # Somebody else may do the same at the same time.
        Tool.objects.bulk_create([Tool(**declared[name]) for name in new], ignore_conflicts=True)
        for name in changed:
            Tool(pk=rows[name].pk, created_at=rows[name].created_at, **declared[name]).save(force_update=True)
        for name in gone:
            rows[name].is_active = False
            rows[name].save(update_fields=["is_active", "updated_at"])
    return Report(new, changed, gone, list(invalid.values()))


def _is_current(row: Tool, columns: dict[str, Any]) -> bool:
    return row.is_active and row.schema_hash == columns["schema_hash"]


def _columns(made: DeclaredTool) -> dict[str, Any]:
    columns = {
        "name": made.name,
        "description": made.description,
        "section": made.section,
        "parameters_schema": dict(made.parameters_schema),
        "python_path": made.python_path,
        "safety": made.safety.value,
        "timeout_seconds": float(made.timeout_seconds),
        "rate_limit_rpm": made.rate_limit,
        "return_type": made.parameters.return_type[:500],
        "memory_policy": made.memory_policy,
        "requires_approval": made.requires_approval,
    }
    schema_hash = hashlib.sha256(json.dumps(columns, sort_keys=True).encode()).hexdigest()
    return {**columns, "schema_hash": schema_hash, "is_active": True}
