"""Read JSON out of a model's answer and hold it against the agent's schema."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

from .exceptions import OutputParseError, OutputSchemaInvalid, OutputValidationError
from .types import StopReason

_FENCE = re.compile(r"^[ \t]*```[\w-]*[ \t]*\r?\n?(.*?)```", re.DOTALL | re.MULTILINE)


def parse(content: str, *, stop_reason: StopReason) -> Any:
    """The JSON value of an answer, also inside its one Markdown fence. Raises OutputParseError."""
    if stop_reason == "max_tokens":
        raise OutputParseError(content, "The answer was cut off by the token limit. Raise the agent's max_tokens.")
    text = content.strip().removeprefix("\ufeff")
    if not text:
        raise OutputParseError(content, "The answer is empty where JSON was expected.")
    fenced = _FENCE.findall(text)
    if len(fenced) == 1 and text[0] not in "{[":
        text = fenced[0]
    try:
        return json.loads(text, parse_constant=_refuse, parse_float=_finite)
    except json.JSONDecodeError as exc:
        reason = f"{exc.msg} at line {exc.lineno}, column {exc.colno}. Say in the prompt to reply with JSON only."
    except RecursionError:
        reason = "it is nested too deeply to be read."
    except ValueError as exc:
        reason = str(exc)
    raise OutputParseError(content, f"The answer is not JSON: {reason}")


def validate(value: Any, schema: Mapping[str, Any]) -> None:
    """Raises OutputValidationError listing every mismatch. ``schema`` is JSON Schema, draft 2020-12."""
    try:
        found = sorted(_validator(schema).iter_errors(value), key=_place)
    except Exception as exc:  # a schema can fail in as many ways as a program; all of them are its fault
        raise OutputSchemaInvalid(
            f"The agent's JSON schema cannot be held against an answer ({type(exc).__name__}). Correct it."
        ) from None
    errors = [{"path": error.json_path, "message": error.message} for error in found]
    if errors:
        more = f" and {len(errors) - 1} more places" if len(errors) > 1 else ""
        raise OutputValidationError(
            errors,
            f"The answer does not match the agent's JSON schema at {errors[0]['path']}{more}. See errors; make "
            "the prompt or the schema agree with what is asked.",
        )


def problem_of(schema: Any) -> str | None:
    """What is wrong with a JSON schema; None if nothing is. Nothing is fetched for it, ever."""
    from jsonschema import Draft202012Validator, SchemaError
    from referencing import Registry
    from referencing.exceptions import Unresolvable
    from referencing.jsonschema import DRAFT202012

    try:
        Draft202012Validator.check_schema(schema, format_checker=Draft202012Validator.FORMAT_CHECKER)
        resolver = Registry().resolver_with_root(DRAFT202012.create_resource(schema))
        for reference in _references(schema):
            resolver.lookup(reference)
    except SchemaError as exc:
        return f"{exc.json_path}: {exc.message}"
    except Unresolvable as exc:
        return f"$ref {exc.ref!r} leads out of the schema, or nowhere. Put what it means under $defs."
    except RecursionError:
        return "It is nested too deeply."
    return None


def _validator(schema: Mapping[str, Any]) -> Any:
    from jsonschema import Draft202012Validator
    from referencing import Registry

    # With a registry of our own a $ref to the outside is an error; jsonschema's own would go and fetch it.
    return Draft202012Validator(schema, registry=Registry(), format_checker=Draft202012Validator.FORMAT_CHECKER)


def _references(schema: Any) -> Iterator[str]:
    if isinstance(schema, Mapping):
        for key, value in schema.items():
            if key in {"$ref", "$dynamicRef"} and isinstance(value, str):
                yield value
            else:
                yield from _references(value)
    elif isinstance(schema, list):
        for item in schema:
            yield from _references(item)


def _place(error: Any) -> list[tuple[int, int, str]]:
    """Sorts by place in the document: item 2 before item 10."""
    return [(0, part, "") if isinstance(part, int) else (1, 0, part) for part in error.absolute_path]


def _refuse(name: str) -> Any:
    raise ValueError(f"{name} is no JSON value.")


def _finite(digits: str) -> float:
    value = float(digits)
    if not math.isfinite(value):
        raise ValueError("it holds a number that is too large.")
    return value
