"""Read JSON out of a model's answer and hold it against the agent's schema."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from .exceptions import OutputParseError, OutputValidationError
from .types import StopReason

_FENCE = re.compile(r"\A\s*```[\w-]*[ \t]*\r?\n(.*?)\r?\n?[ \t]*```\s*\Z", re.DOTALL)


def parse(content: str, *, stop_reason: StopReason) -> Any:
    """The JSON value of an answer, also inside a Markdown fence. Raises OutputParseError."""
    if not content.strip():
        raise OutputParseError(content, "The answer is empty where JSON was expected.")
    fenced = _FENCE.match(content)
    try:
        return json.loads(fenced[1] if fenced else content, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as exc:
        if stop_reason == "max_tokens":
            reason = "The answer was cut off by the token limit. Raise the agent's max_tokens."
        elif isinstance(exc, json.JSONDecodeError):
            reason = (
                f"The answer is not JSON: {exc.msg} at line {exc.lineno}, column {exc.colno}. "
                "Say in the prompt that the reply is JSON only."
            )
        elif isinstance(exc, RecursionError):
            reason = "The answer is JSON that is nested too deeply to be read."
        else:
            reason = f"The answer is not JSON: {exc}"
        raise OutputParseError(content, reason) from None


def validate(value: Any, schema: Mapping[str, Any]) -> None:
    """Raises OutputValidationError listing every mismatch. ``schema`` is JSON Schema, draft 2020-12."""
    from jsonschema import Draft202012Validator

    validator = Draft202012Validator(schema, format_checker=Draft202012Validator.FORMAT_CHECKER)
    found = sorted(validator.iter_errors(value), key=lambda error: [str(p) for p in error.absolute_path])
    errors = [{"path": error.json_path, "message": error.message} for error in found]
    if errors:
        first = errors[0]["path"]
        raise OutputValidationError(
            errors,
            f"The answer does not match the agent's JSON schema at {first}"
            + (f" and {len(errors) - 1} more places" if len(errors) > 1 else "")
            + ". See errors; make the prompt or the schema agree with what is asked.",
        )


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON value.")
