"""Read JSON out of a model's answer and hold it against the agent's schema."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any

from . import json_limits
from .exceptions import OutputParseError, OutputSchemaInvalid, OutputValidationError

if TYPE_CHECKING:
    from .types import StopReason

# What may begin a JSON object or array; a bracket in prose is seldom followed by such.
_START = re.compile(r'\{\s*["}]|\[\s*(?:["{\[\]\-\d]|true|false|null)')
_MOST_DIGITS = 1_000
_MOST_MESSAGE = 500
_REFERENCES = {"$ref", "$dynamicRef"}
_DATA = {"const", "enum", "default", "examples"}
"""Keywords of a schema that hold values, and no schemas."""
_KEPT = 256
"""Schemas of which is kept what was found out about them."""
_DRAFT = "https://json-schema.org/draft/2020-12/schema"


def parse(content: str, *, stop_reason: StopReason) -> Any:
    """The JSON value of an answer. Raises OutputParseError.

    A Markdown fence or words around an object or array are passed over, as long as there is one and no doubt which.
    """
    if stop_reason == "max_tokens":
        raise OutputParseError(content, "The answer was cut off by the token limit. Raise the agent's max_tokens.")
    text = content.strip().removeprefix("\ufeff")
    if not text and stop_reason == "refusal":
        raise OutputParseError(content, "The model has refused to answer.")
    if not text:
        raise OutputParseError(content, "The answer is empty where JSON was expected.")
    try:
        return _read(text)
    except json.JSONDecodeError as exc:
        reason = f"{exc.msg} at line {exc.lineno}, column {exc.colno}."
        remedy = "Say in the prompt to reply with JSON only."
    except RecursionError:
        reason, remedy = "it is nested too deeply to be read.", ""
    except ValueError as exc:
        reason, remedy = str(exc), "Say in the prompt to reply with one JSON value."
    reason = f"The answer is not JSON: {reason}"
    raise OutputParseError(content, f"{reason} {remedy}".rstrip(), reason=reason)


def _unfenced(text: str) -> str:
    """What is in the fence, where the whole text is one."""
    opening, line_end, rest = text.partition("\n")
    if line_end and opening.startswith("```") and rest.endswith("```"):
        return rest.removesuffix("```").strip()
    return text


def _read(text: str) -> Any:
    try:
        return _DECODER.decode(_unfenced(text))
    except json.JSONDecodeError:
        # A document that breaks off has whole parts inside it, which are not the answer.
        found = [] if text[0] in "{[" else _inside(text)
        if len(found) > 1:
            raise ValueError(f"it holds {len(found)} JSON values.") from None
        if not found:
            raise
        return found[0]


def _inside(text: str) -> list[Any]:
    """The objects and arrays that stand among other words. Raises JSONDecodeError where one of them is broken."""
    found, position = [], 0
    while start := _START.search(text, position):
        value, position = _DECODER.raw_decode(text, start.start())
        found.append(value)
    return found


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


def load(text: str) -> Any:
    """A text that is one JSON value and nothing else. Raises ValueError."""
    if not json_limits.is_within(text):
        raise ValueError(
            f"it is nested more than {json_limits.MAX_DEPTH} levels deep, or holds a number of more than "
            f"{json_limits.MAX_DIGITS} digits."
        )
    return _DECODER.decode(text)


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
    errors = [{"path": error.json_path, "message": _cut(error.message)} for error in found]
    if errors:
        raise OutputValidationError(
            errors,
            f"The answer does not match its JSON schema in {len(errors)} places, the first of them "
            f"{errors[0]['path']}. See errors; make the prompt or the schema agree with what is asked.",
        )


def _cut(message: str) -> str:
    """Without most of the value that a message repeats."""
    return message if len(message) <= _MOST_MESSAGE else f"{message[: _MOST_MESSAGE // 2]} … {message[-200:]}"


def _is_surely_valid(value: Any, schema: Mapping[str, Any]) -> bool:
    """Whether a compiled validator finds nothing wrong: it takes a hundredth of the time, and tells less.

    Formats are checked by ``jsonschema`` for both. It is given no schema that could have it fetch another.
    """
    try:
        compiled = _compiled(json.dumps(schema))
        return compiled is not None and bool(compiled.is_valid(value))
    except Exception:  # what it cannot compile or hold, the other one says
        return False


@lru_cache(_KEPT)
def _compiled(schema_text: str) -> Any:
    """None for a schema that may lead out of itself."""
    schema = json.loads(schema_text)
    told = list(_told(schema))
    if any(key != "format" and text != _DRAFT and not text.startswith("#") for key, text in told):
        return None
    import jsonschema_rs
    from jsonschema import Draft202012Validator

    conforms = Draft202012Validator.FORMAT_CHECKER.conforms
    formats: dict[str, Any] = {text: partial(conforms, format=text) for key, text in told if key == "format"}
    return jsonschema_rs.Draft202012Validator(schema, formats=formats, validate_formats=True)


def _told(schema: Any) -> Iterator[tuple[str, str]]:
    """Formats, and what may lead out of the schema."""
    if isinstance(schema, Mapping):
        for key, value in schema.items():
            if key in {"format", "$id", "$schema", *_REFERENCES} and isinstance(value, str):
                yield key, value
            elif key not in _DATA:
                yield from _told(value)
    elif isinstance(schema, list):
        for item in schema:
            yield from _told(item)


def problem_of(schema: Any) -> str | None:
    """What is wrong with a JSON schema; None if nothing is. Nothing is fetched for it, ever."""
    if not isinstance(schema, Mapping):
        return "Make it an object."
    try:
        text = json.dumps(schema, allow_nan=False)
    except RecursionError:
        return "It is nested too deeply."
    except (ValueError, TypeError) as exc:
        return f"It cannot be used ({exc})."
    return _problem_of(text)


@lru_cache(_KEPT)
def _problem_of(schema_text: str) -> str | None:
    """The same for the same schema: to find it takes as long as a call to a model that is near."""
    from jsonschema import Draft202012Validator, SchemaError
    from referencing import Registry
    from referencing.exceptions import Unresolvable
    from referencing.jsonschema import DRAFT202012

    try:
        schema = json.loads(schema_text)
        Draft202012Validator.check_schema(schema, format_checker=Draft202012Validator.FORMAT_CHECKER)
        resolver = Registry().resolver_with_root(DRAFT202012.create_resource(schema))
        for reference in (text for key, text in _told(schema) if key in _REFERENCES):
            if not isinstance(resolver.lookup(reference).contents, (Mapping, bool)):
                return f"$ref {reference!r} leads to something that is no schema."
    except SchemaError as exc:
        return f"{exc.json_path}: {exc.message}"
    except Unresolvable as exc:
        return f"$ref {exc.ref!r} leads out of the schema, or nowhere. Put what it means under $defs."
    except RecursionError:
        return "It is nested too deeply."
    except (ValueError, TypeError, LookupError) as exc:
        return f"It cannot be used ({exc})."
    return None


def _validator(schema: Mapping[str, Any]) -> Any:
    from jsonschema import Draft202012Validator
    from referencing import Registry

    # With a registry of our own a $ref to the outside is an error; jsonschema's own would go and fetch it.
    return Draft202012Validator(schema, registry=Registry(), format_checker=Draft202012Validator.FORMAT_CHECKER)


def _place(error: Any) -> list[tuple[int, int, str]]:
    """Sorts by place in the document: item 2 before item 10."""
    return [(0, part, "") if isinstance(part, int) else (1, 0, part) for part in error.absolute_path]
