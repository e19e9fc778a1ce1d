"""Read JSON out of a model's answer and hold it against the agent's schema."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

from .exceptions import OutputParseError, OutputSchemaInvalid, OutputValidationError
from .types import StopReason

_FENCE = re.compile(r"^[ \t]*```[\w-]*[ \t]*\r?\n?(.*?)```", re.DOTALL | re.MULTILINE)
_START = re.compile(r"[{\[]")
_MOST_DIGITS = 1_000
_MOST_STARTS = 500
"""Where so many brackets begin nothing that is JSON, the answer is something else."""


def parse(content: str, *, stop_reason: StopReason) -> Any:
    """The JSON value of an answer. Raises OutputParseError.

    A Markdown fence or words around it are passed over, as long as there is one value and no doubt which.
    """
    if stop_reason == "max_tokens":
        raise OutputParseError(content, "The answer was cut off by the token limit. Raise the agent's max_tokens.")
    text = content.strip().removeprefix("\ufeff")
    if not text:
        raise OutputParseError(content, "The answer is empty where JSON was expected.")
    fenced = _FENCE.findall(text)
    try:
        return _read(fenced[0] if len(fenced) == 1 and text[0] not in "{[" else text)
    except json.JSONDecodeError as exc:
        reason = f"{exc.msg} at line {exc.lineno}, column {exc.colno}. Say in the prompt to reply with JSON only."
    except RecursionError:
        reason = "it is nested too deeply to be read."
    except ValueError as exc:
        reason = str(exc)
    raise OutputParseError(content, f"The answer is not JSON: {reason}")


def _read(text: str) -> Any:
    try:
        return _DECODER.decode(text)
    except json.JSONDecodeError:
        found = _inside(text)
        if len(found) > 1:
            raise ValueError(f"it holds {len(found)} JSON values. Say in the prompt to reply with one.") from None
        if not found:
            raise
        return found[0]


def _inside(text: str) -> list[Any]:
    """The objects and arrays that stand among other words, one after the other."""
    found: list[Any] = []
    position = 0
    for _ in range(_MOST_STARTS):
        start = _START.search(text, position)
        if start is None:
            return found
        try:
            value, position = _DECODER.raw_decode(text, start.start())
            found.append(value)
        except json.JSONDecodeError:
            position = start.start() + 1
    return []


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise ValueError(f"the key {twice!r} stands twice in one object.")
    return made


def _integer(digits: str) -> int:
    if len(digits) > _MOST_DIGITS:
        raise ValueError(f"it holds an integer of {len(digits)} digits.")
    return int(digits)


def _refuse(name: str) -> Any:
    raise ValueError(f"{name} is no JSON value.")


def _finite(digits: str) -> float:
    value = float(digits)
    if not math.isfinite(value):
        raise ValueError("it holds a number that is too large.")
    return value


_DECODER = json.JSONDecoder(
    object_pairs_hook=_object, parse_int=_integer, parse_float=_finite, parse_constant=_refuse
)


def validate(value: Any, schema: Mapping[str, Any]) -> None:
    """Raises OutputValidationError listing every mismatch. ``schema`` is JSON Schema, draft 2020-12."""
    if _is_surely_valid(value, schema):
        return
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


def _is_surely_valid(value: Any, schema: Mapping[str, Any]) -> bool:
    """Whether a compiled validator finds nothing wrong: it takes a hundredth of the time, and tells less.

    Formats are checked by ``jsonschema`` for both. It is given no schema that could have it fetch another.
    """
    told = list(_told(schema))
    if any(key in {"$id", "$schema"} or (key != "format" and not text.startswith("#")) for key, text in told):
        return False
    import jsonschema_rs
    from jsonschema import Draft202012Validator

    conforms = Draft202012Validator.FORMAT_CHECKER.conforms
    formats: dict[str, Any] = {text: partial(conforms, format=text) for key, text in told if key == "format"}
    try:
        compiled = jsonschema_rs.Draft202012Validator(dict(schema), formats=formats, validate_formats=True)
        return bool(compiled.is_valid(value))
    except Exception:  # what it cannot compile or hold, the other one says
        return False


def _told(schema: Any) -> Iterator[tuple[str, str]]:
    """Formats, and what may lead out of the schema."""
    if isinstance(schema, Mapping):
        for key, value in schema.items():
            if key in {"format", "$id", "$schema", "$ref", "$dynamicRef"} and isinstance(value, str):
                yield key, value
            else:
                yield from _told(value)
    elif isinstance(schema, list):
        for item in schema:
            yield from _told(item)


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
