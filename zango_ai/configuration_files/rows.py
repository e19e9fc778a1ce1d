"""Write the columns of one row from the file's entry for it."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from django.core.exceptions import ValidationError
from django.db.models import Model

from ..models.validated import ValidatedModel
from .export import columns
from .file_parts import Part, Skipped


def assign(row: Model, entries: Mapping[Any, Part]) -> bool:
    """Assign the columns that the entry has. True if the row is new or a value changed."""
    is_changed = bool(row._state.adding)
    for field in columns(type(row)):
        if field.name not in entries:
            continue
        with suppress(Skipped):
            value = entries[field.name].for_field(field)
            is_changed |= value != getattr(row, field.name)
            setattr(row, field.name, value)
    return is_changed


def save(row: ValidatedModel, part: Part, *, clean: bool = True) -> bool:
    """Validate and save the row. False if the part has problems, which are then reported."""
    try:
        row.clean_fields()
        if clean:
            row.clean()
    except ValidationError as exc:
        part.report_invalid(exc)
    if part.has_problems():
        return False
    row.save()
    return True
