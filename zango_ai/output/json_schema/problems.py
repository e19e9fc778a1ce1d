"""Why a JSON schema cannot be used. Nothing is fetched for it, ever."""

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
"""With each reference replaced by what it names."""

_KEPT = 256
_DEEP = f"It is nested too deeply; {MAX_DEPTH} levels are allowed, references included."


def problem_of(schema: Any) -> str | None:
    """A sentence for the author of the schema; None where nothing is wrong."""
    if not isinstance(schema, Mapping):
        return "Make it an object."
    try:
        text = json.dumps(schema, allow_nan=False)
    except RecursionError:
        return _DEEP
    except (ValueError, TypeError) as exc:
        return f"It cannot be used ({exc})."
    if len(text) > MAX_CHARS:
        return f"It has {len(text)} characters; {MAX_CHARS} are allowed."
    return _problem_of(text)


@lru_cache(_KEPT)
def _problem_of(schema_text: str) -> str | None:
    schema = json.loads(schema_text)
    try:
        levels_of(schema)
    except TooDeep:
        return _DEEP
    return next(filter(None, _problems(schema)), None)


def _problems(schema: Mapping[str, Any]) -> Iterator[str | None]:
    """One check after the other: each relies on those before it."""
    yield _unsupported(schema)
    yield _wrong_reference(schema)
    yield _malformed(schema)
    yield _too_much(schema)


def _unsupported(schema: Mapping[str, Any]) -> str | None:
    texts: list[str] = []
    for node in walk(schema):
        for key in ("$id", "$schema"):
            if node is not schema and isinstance(node.get(key), str):
                return f"It has {key} inside of it ({node[key]!r}). Put what it means under $defs."
        by_pattern = node.get("patternProperties")
        found = [node.get("pattern"), *(by_pattern if isinstance(by_pattern, Mapping) else ())]
        texts += (each for each in found if isinstance(each, str))
    if len(texts) > patterns.MAX_PATTERNS:
        return f"It has {len(texts)} patterns; {patterns.MAX_PATTERNS} are allowed."
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
    """A validator of jsonschema_rs. Raises jsonschema_rs.ValidationError, ValueError."""
    import jsonschema_rs

    plain = {key: value for key, value in schema.items() if key != "$schema"}
    return jsonschema_rs.Draft202012Validator(
        plain, pattern_options=patterns.options(), validate_formats=True, retriever=_refuse
    )


def _refuse(address: str) -> Any:
    raise ValueError("Schemas are not fetched.")


def json_path(place: Sequence[str | int]) -> str:
    """``$.items[0].price``"""
    return "$" + "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in place)


def _wrong_reference(schema: Mapping[str, Any]) -> str | None:
    document = Document(schema)
    for node in walk(schema):
        for reference in (node[key] for key in REFERENCES & node.keys() if isinstance(node[key], str)):
            try:
                target = document.resolve(reference)
            except ReferenceNotFound:
                return f"$ref {reference!r} leads out of the schema, or nowhere. Put what it means under $defs."
            if not isinstance(target, (Mapping, bool)):
                return f"$ref {reference!r} leads to something that is no schema."
    return None


def _too_much(schema: Mapping[str, Any]) -> str | None:
    try:
        _Expansion(Document(schema)).visit(schema, 0, frozenset())
    except _TooMuch as exc:
        return str(exc)
    return None


class _TooMuch(Exception):
    """Says what is wrong with the references."""


class _Expansion:
    """Counts a schema's subschemas with each reference replaced by what it names, except in itself."""

    def __init__(self, document: Document) -> None:
        self._document = document
        self._count = 0
        self._path: set[int] = set()

    def visit(self, schema: Any, depth: int, in_place: frozenset[int]) -> None:
        """``in_place``: the subschemas that lead to this one without a step down in the value. Raises _TooMuch."""
        self._count += 1
        if self._count > MAX_SUBSCHEMAS:
            raise _TooMuch(
                f"Its references expand to more than {MAX_SUBSCHEMAS} subschemas. Remove some of the references."
            )
        if depth > MAX_DEPTH:
            raise _TooMuch(_DEEP)
        key = id(schema)
        if key in in_place:
            raise _TooMuch("A $ref in it leads back to itself, so that no value can be checked.")
        if not isinstance(schema, Mapping) or key in self._path:
            return
        self._path.add(key)
        applied = self._document.applied_by(schema)
        for each in applied.in_place:
            self.visit(each, depth + 1, in_place | {key})
        for each in applied.to_children():
            self.visit(each, depth + 1, frozenset())
        self._path.discard(key)
