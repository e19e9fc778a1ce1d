"""Read an answer that a model gave under the strict form of a schema."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...exceptions import OutputSchemaInvalid, OutputValidationError
from .. import added_nulls
from .validation import validate


def fitted(value: Any, schema: Mapping[str, Any]) -> Any:
    """The value as the schema allows it. Raises what ``validate()`` raises.

    A valid value is returned as it is. From another, the nulls that stand for optional properties are dropped.
    """
    try:
        validate(value, schema)
    except OutputValidationError:
        fitting = added_nulls.without(value, schema, _is_valid)
        if fitting == value:
            raise
        validate(fitting, schema)
        return fitting
    return value


def _is_valid(value: Any, schema: Mapping[str, Any]) -> bool:
    try:
        validate(value, schema)
    except (OutputValidationError, OutputSchemaInvalid):
        return False
    return True
