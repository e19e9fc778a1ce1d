"""Why a JSON schema cannot be used. References to other documents are never fetched."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

from ..json_limits import MAX_DEPTH
from . import patterns
from .cost import TooDeep, levels_of
from .subschemas import REFERENCES, Document, ReferenceNotFound, walk

MAX_CHARS = 100_000
MAX_SUBSCHEMAS = 10_000
"""Counted with each reference replaced by its target."""

_CACHE_SIZE = 256
_TOO_DEEP = f"It is nested too deeply: {MAX_DEPTH} levels are allowed, references included."


def problem_of(schema: Any) -> str | None:
    """What is wrong with the schema, as a sentence for its author; None if it can be used."""
    if not isinstance(schema, Mapping):
        return "It must be a JSON object."
    try:
        text = json.dumps(schema, allow_nan=False)
    except RecursionError:
        return _TOO_DEEP
    except (ValueError, TypeError) as exc:
        return f"It cannot be used ({exc})."
    if len(text) > MAX_CHARS:
        return f"It has {len(text)} characters; at most {MAX_CHARS} are allowed."
    return _problem_of(text)


@lru_cache(_CACHE_SIZE)
def _problem_of(schema_text: str) -> str | None:
    schema = json.loads(schema_text)
    try:
        levels_of(schema)
    except TooDeep:
        return _TOO_DEEP
    return next(filter(None, _problems(schema)), None)


def _problems(schema: Mapping[str, Any]) -> Iterator[str | None]:
    """The checks in order. Each relies on those before it."""
    yield _unsupported(schema)
    yield _broken_reference(schema)
    yield _malformed(schema)
    yield _too_large(schema)


def _unsupported(schema: Mapping[str, Any]) -> str | None:
    texts: list[str] = []
    for node in walk(schema):
        for key in ("$id", "$schema"):
            if node is not schema and isinstance(node.get(key), str):
                return f"It has a nested {key} ({node[key]!r}). Move that schema to $defs and refer to it by $ref."
        by_pattern = node.get("patternProperties")
        candidates = [node.get("pattern"), *(by_pattern if isinstance(by_pattern, Mapping) else ())]
        texts += (pattern for pattern in candidates if isinstance(pattern, str))
    if len(texts) > patterns.MAX_PATTERNS:
        return f"It has {len(texts)} patterns; at most {patterns.MAX_PATTERNS} are allowed."
    return next(filter(None, map(patterns.problem_of, texts)), None)


def _malformed(schema: Mapping[str, Any]) -> str | None:
    import jsonschema_rs

    try:
        compiled(schema)
    except jsonschema_rs.ValidationError as exc:
        return f"{json_path(exc.instance_path)}: {exc.message}"
    except ValueError as exc:
        return f"It cannot be used ({exc})."
    return None


def compiled(schema: Mapping[str, Any]) -> Any:
    """The schema as a jsonschema_rs validator. Raises jsonschema_rs.ValidationError, ValueError."""
    import jsonschema_rs

    without_dialect = {key: value for key, value in schema.items() if key != "$schema"}
    return jsonschema_rs.Draft202012Validator(
        without_dialect, pattern_options=patterns.options(), validate_formats=True, retriever=_refuse_to_fetch
    )


def _refuse_to_fetch(address: str) -> Any:
    raise ValueError("References to other documents are not supported.")


def json_path(location: Sequence[str | int]) -> str:
    """The path of a value, as ``$.items[0].price``."""
    return "$" + "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location)


def _broken_reference(schema: Mapping[str, Any]) -> str | None:
    document = Document(schema)
    for node in walk(schema):
        for reference in (node[key] for key in REFERENCES & node.keys() if isinstance(node[key], str)):
            try:
                target = document.resolve(reference)
            except ReferenceNotFound:
                return f"$ref {reference!r} points outside the schema or to nothing. Put its target under $defs."
            if not isinstance(target, (Mapping, bool)):
                return f"$ref {reference!r} points to a value that is not a schema."
    return None


def _too_large(schema: Mapping[str, Any]) -> str | None:
    try:
        _Expansion(Document(schema)).visit(schema, 0, frozenset())
    except _TooLarge as exc:
        return str(exc)
    return None


class _TooLarge(Exception):
    """The expanded schema is too large, or endless. The message says why."""


class _Expansion:
    """Counts a schema's subschemas with each reference replaced by its target, except inside that target."""

    def __init__(self, document: Document) -> None:
        self._document = document
        self._count = 0
        self._path: set[int] = set()

    def visit(self, schema: Any, depth: int, in_place: frozenset[int]) -> None:
        """``in_place`` has the schemas that apply this one to the same value. Raises _TooLarge."""
        self._count += 1
        if self._count > MAX_SUBSCHEMAS:
            raise _TooLarge(
                f"Its references expand to more than {MAX_SUBSCHEMAS} subschemas. Remove some of the references."
            )
        if depth > MAX_DEPTH:
            raise _TooLarge(_TOO_DEEP)
        key = id(schema)
        if key in in_place:
            raise _TooLarge("A $ref refers to itself without a level between, so no value can be validated.")
        if not isinstance(schema, Mapping) or key in self._path:
            return
        self._path.add(key)
        applied = self._document.applied_by(schema)
        for subschema in applied.in_place:
            self.visit(subschema, depth + 1, in_place | {key})
        for subschema in applied.to_children():
            self.visit(subschema, depth + 1, frozenset())
        self._path.discard(key)
