"""Validate an answer against a schema."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from ...exceptions import OutputSchemaInvalid, OutputValidationError
from .. import optional_nulls
from ..json_limits import MAX_DEPTH
from . import answer_errors, cost, schema_problems

_CACHE_SIZE = 64


def validate_answer(value: Any, schema: Mapping[str, Any]) -> Any:
    """The value, valid under the schema. Raises what ``validate()`` raises.

    If the value is invalid only because of nulls that stand for absent optional properties, they are removed.
    """
    try:
        validate(value, schema)
    except OutputValidationError:
        without_nulls = optional_nulls.remove(value, schema, _is_valid)
        if without_nulls == value:
            raise
        validate(without_nulls, schema)
        return without_nulls
    return value


def _is_valid(value: Any, schema: Mapping[str, Any]) -> bool:
    try:
        validate(value, schema)
    except (OutputValidationError, OutputSchemaInvalid):
        return False
    return True


def validate(value: Any, schema: Mapping[str, Any]) -> None:
    """Raises OutputValidationError, which lists up to 100 errors, and OutputSchemaInvalid.

    ``problem_of()`` must have found no problem in ``schema``.
    """
    text = json.dumps(schema)
    try:
        levels = cost.levels_of(value)
    except cost.TooDeep:
        raise _invalid(f"The answer is nested more than {MAX_DEPTH} levels deep.") from None
    try:
        if cost.units_of(text, levels) > cost.MAX_UNITS:
            raise _invalid("The answer is too large to be validated against its JSON schema. Simplify the schema.")
        if _compiled(text).is_valid(value):
            return
        errors, is_complete = answer_errors.find(value, schema)
    except OutputValidationError:
        raise
    except Exception as exc:  # a schema may fail in any way, and only the schema can be at fault
        raise OutputSchemaInvalid(
            f"The JSON schema cannot be used to validate an answer ({type(exc).__name__}). Correct it."
        ) from None
    message = answer_errors.describe_errors("its JSON schema", errors, is_complete=is_complete)
    raise OutputValidationError(errors, message)


@lru_cache(_CACHE_SIZE)
def _compiled(schema_text: str) -> Any:
    return schema_problems.compiled(json.loads(schema_text))


def _invalid(message: str) -> OutputValidationError:
    return OutputValidationError([{"path": "$", "message": message}], message)
