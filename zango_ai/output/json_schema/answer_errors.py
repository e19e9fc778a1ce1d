"""Find the errors of an invalid answer: where and why it does not match its schema.

``jsonschema`` finds them: its messages are good, and it yields one error at a time, so the search can stop early.
Its slow keywords are replaced, including all that use ``re``. Each keyword that is applied counts as a step.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from functools import lru_cache
from typing import Any

from . import patterns
from .subschemas import Document

MAX_ERRORS = 100
MAX_STEPS = 25_000
"""About half a second. It is Python code, so other threads run meanwhile."""

_MAX_MESSAGE_CHARS = 500
_CHARS_PER_STEP = 100
_SHOWN_ERRORS = 3
_MAX_SHOWN_CHARS = 200
_SKIPPED = ("unevaluatedItems", "unevaluatedProperties")
"""jsonschema takes quadratic time for them."""
_UNEVALUATED = "It has properties or items that the schema does not evaluate"
_TOO_LARGE = "It does not match the schema, and is too large to find out where"
_Keyword = Callable[[Any, Any, Any, Any], Iterator[Any] | None]


class _NoStepsLeft(Exception):
    """The search has used all its steps."""


class _Search:
    """One search for errors."""

    def __init__(self, schema: Mapping[str, Any]) -> None:
        self.document = Document(schema)
        self._steps_left = MAX_STEPS

    def take(self, steps: int) -> None:
        self._steps_left -= steps
        if self._steps_left < 0:
            raise _NoStepsLeft


_search: ContextVar[_Search] = ContextVar("search")


def find(value: Any, schema: Mapping[str, Any]) -> tuple[list[dict[str, str]], bool]:
    """The errors in document order, at least one, and whether these are all. The value must be invalid."""
    raw_errors: list[Any] = []
    is_complete = True
    token = _search.set(_Search(schema))
    try:
        for error in _validator(schema).iter_errors(value):
            if len(raw_errors) == MAX_ERRORS:
                is_complete = False
                break
            raw_errors.append(error)
    except _NoStepsLeft:
        is_complete = False
    finally:
        _search.reset(token)
    raw_errors.sort(key=_sort_key)
    errors = [
        {"path": error.json_path, "message": shorten(error.message, _MAX_MESSAGE_CHARS)} for error in raw_errors
    ]
    return errors or [{"path": "$", "message": _UNEVALUATED if is_complete else _TOO_LARGE}], is_complete


def describe_errors(subject: str, errors: Sequence[dict[str, str]], *, is_complete: bool) -> str:
    """One sentence with the first errors. ``subject`` is what the answer does not match."""
    first = "; ".join(
        f"{error['path']}: {shorten(error['message'], _MAX_SHOWN_CHARS)}" for error in errors[:_SHOWN_ERRORS]
    )
    others = len(errors) - _SHOWN_ERRORS
    more = f" (and {others}{'' if is_complete else ' or'} more)" if others > 0 else ""
    return f"The answer does not match {subject}: {first}{more}".rstrip(".") + "."


def shorten(message: str, max_chars: int) -> str:
    """The message without its middle, which is mostly the invalid value."""
    if len(message) <= max_chars:
        return message
    return f"{message[: max_chars // 2]} … {message[-max_chars // 3 :]}"


def _sort_key(error: Any) -> list[tuple[int, int, str]]:
    """Sorts by position in the document: item 2 before item 10."""
    return [(0, part, "") if isinstance(part, int) else (1, 0, part) for part in error.absolute_path]


def _take(steps: int) -> None:
    _search.get().take(steps)


def _validator(schema: Mapping[str, Any]) -> Any:
    from referencing import Registry

    without_dialect = {key: value for key, value in schema.items() if key != "$schema"}
    # With an empty registry, a $ref to another document is an error. jsonschema's own registry would fetch it.
    return _validator_class()(without_dialect, registry=Registry())


@lru_cache(1)
def _validator_class() -> Any:
    from jsonschema import Draft202012Validator, validators

    keywords = {**Draft202012Validator.VALIDATORS, **_REPLACED}
    counted = {name: _counted(keyword) for name, keyword in keywords.items()}
    return validators.extend(Draft202012Validator, counted | dict.fromkeys(_SKIPPED, _nothing))


def _counted(keyword: _Keyword) -> _Keyword:
    def check(validator: Any, value: Any, instance: Any, schema: Any) -> Iterator[Any]:
        _take(1 + (len(value) if isinstance(value, (list, dict)) else 0))
        for error in keyword(validator, value, instance, schema) or ():
            _take(len(error.message) // _CHARS_PER_STEP)
            yield error

    return check


def _nothing(validator: Any, value: Any, instance: Any, schema: Any) -> None:
    return None


def _error(message: str) -> Any:
    from jsonschema import ValidationError

    return ValidationError(message)


def _reference(validator: Any, reference: str, instance: Any, schema: Any) -> Iterator[Any]:
    yield from validator.descend(instance, _search.get().document.resolve(reference))


def _pattern(validator: Any, pattern: str, instance: Any, schema: Any) -> Iterator[Any]:
    if isinstance(instance, str) and not patterns.matches(pattern, instance):
        yield _error(f"{instance!r} does not match {pattern!r}")


def _format(validator: Any, name: str, instance: Any, schema: Any) -> Iterator[Any]:
    if isinstance(instance, str) and not patterns.has_format(name, instance):
        yield _error(f"{instance!r} is not a {name!r}")


def _pattern_properties(validator: Any, by_pattern: Any, instance: Any, schema: Any) -> Iterator[Any]:
    if not isinstance(instance, dict):
        return
    for pattern, subschema in by_pattern.items():
        for name, value in instance.items():
            _take(1)
            if patterns.matches(pattern, name):
                yield from validator.descend(value, subschema, path=name, schema_path=pattern)


def _additional_properties(validator: Any, subschema: Any, instance: Any, schema: Any) -> Iterator[Any]:
    if not isinstance(instance, dict):
        return
    extra = [name for name in instance if not _is_described(name, schema)]
    if subschema is False and extra:
        were = "was" if len(extra) == 1 else "were"
        yield _error(f"Additional properties are not allowed ({', '.join(map(repr, extra))} {were} unexpected)")
    elif isinstance(subschema, dict):
        for name in extra:
            yield from validator.descend(instance[name], subschema, path=name)


def _is_described(name: str, schema: Any) -> bool:
    if name in schema.get("properties", {}):
        return True
    by_pattern = schema.get("patternProperties", {})
    _take(len(by_pattern))
    return any(patterns.matches(pattern, name) for pattern in by_pattern)


def _unique_items(validator: Any, is_required: Any, instance: Any, schema: Any) -> Iterator[Any]:
    if not is_required or not isinstance(instance, list):
        return
    seen: dict[str, int] = {}
    for index, item in enumerate(instance):
        text = json.dumps(item, sort_keys=True)
        _take(1 + len(text) // _CHARS_PER_STEP)
        first = seen.setdefault(text, index)
        if first != index:
            yield _error(f"Items {first} and {index} are the same")
            return


_REPLACED: dict[str, _Keyword] = {
    "$ref": _reference,
    "$dynamicRef": _reference,
    "pattern": _pattern,
    "format": _format,
    "patternProperties": _pattern_properties,
    "additionalProperties": _additional_properties,
    "uniqueItems": _unique_items,
}
