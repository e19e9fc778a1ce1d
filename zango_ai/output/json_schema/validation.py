"""Check an answer against a schema."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from ...exceptions import OutputSchemaInvalid, OutputValidationError
from ..json_limits import MAX_DEPTH
from . import cost, mismatches, problems
from .wording import in_words

_KEPT = 64


def validate(value: Any, schema: Mapping[str, Any]) -> None:
    """Raises OutputValidationError, which lists up to 100 mismatches, and OutputSchemaInvalid.

    ``schema`` is one of which ``problem_of()`` finds nothing wrong.
    """
    text = json.dumps(schema)
    try:
        levels = cost.levels_of(value)
    except cost.TooDeep:
        raise _refused(f"The answer is nested more than {MAX_DEPTH} levels deep.") from None
    try:
        if cost.units_of(text, levels) > cost.MAX_UNITS:
            raise _refused("The answer is too large to be checked against its JSON schema. Simplify the schema.")
        if _compiled(text).is_valid(value):
            return
        errors, are_all = mismatches.find(value, schema)
    except OutputValidationError:
        raise
    except Exception as exc:  # a schema can fail in as many ways as a program; all of them are its fault
        raise OutputSchemaInvalid(
            f"The JSON schema cannot be used to check an answer ({type(exc).__name__}). Correct it."
        ) from None
    raise OutputValidationError(errors, in_words("its JSON schema", errors, are_all=are_all))


@lru_cache(_KEPT)
def _compiled(schema_text: str) -> Any:
    return problems.compiled(json.loads(schema_text))


def _refused(message: str) -> OutputValidationError:
    return OutputValidationError([{"path": "$", "message": message}], message)
