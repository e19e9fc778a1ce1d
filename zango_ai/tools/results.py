"""A tool's return value as the model gets it: JSON of a limited size."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from .. import sanitize
from ..argument_checks import type_of

_NOTE_CHARS = 80
_MIN_ITEM_CHARS = 40
_MAX_DEPTH = 60


def to_json_value(value: Any) -> Any:
    """The value as JSON types: dates, UUIDs and Decimals as text; sets, dataclasses and pydantic models, too.

    Raises TypeError or ValueError for anything else: a model instance, a queryset, a circular reference.
    """
    from pydantic_core import to_jsonable_python

    _refuse_iterators(value)
    return _finite(to_jsonable_python(value, by_alias=True, fallback=_fallback))


def _refuse_iterators(value: Any, depth: int = 0) -> None:
    """pydantic would read an endless iterator in native code, which nothing can interrupt."""
    if isinstance(value, Iterator):
        raise TypeError(f"the result has a value {type_of(value)}, which may be endless: return a list")
    children: Iterable[Any] = ()
    if isinstance(value, dict):
        children = value.values()
    elif isinstance(value, (list, tuple, set, frozenset)):
        children = value
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        children = [getattr(value, field.name, None) for field in dataclasses.fields(value)]
    for child in children if depth < _MAX_DEPTH else ():
        _refuse_iterators(child, depth + 1)


def _fallback(value: Any) -> Any:
    if type(value).__name__ == "__proxy__":  # Django's lazy text
        return str(value)
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"the result has a value {type_of(value)}, which cannot be converted to JSON")


def _finite(value: Any, depth: int = 0) -> Any:
    """The value with NaN and infinity as text. Raises ValueError if it is nested too deeply."""
    if depth > _MAX_DEPTH:
        raise ValueError(f"the result is nested more than {_MAX_DEPTH} levels deep")
    if isinstance(value, dict):
        return {key: _finite(child, depth + 1) for key, child in value.items()}
    if isinstance(value, list):
        return [_finite(child, depth + 1) for child in value]
    return json.dumps(value) if isinstance(value, float) and not math.isfinite(value) else value


def to_text(value: Any) -> str:
    """The text that is sent to the model: a str as it is, anything else as JSON."""
    # Some vendors refuse a result without text.
    is_text = isinstance(value, str) and value.strip()
    return sanitize.sendable(value if is_text else json.dumps(value, ensure_ascii=False))


def truncate(value: Any, max_chars: int) -> Any:
    """The value as about ``max_chars`` characters of JSON at most, with notes that say how much is missing.

    Items and keys are left out from the end. A text that alone is too long loses its end.
    """
    return value if _size(value) <= max_chars else _truncate(value, max_chars)


def _truncate(value: Any, max_chars: int) -> Any:
    if isinstance(value, str):
        return _truncate_text(value, max_chars)
    if isinstance(value, list):
        return _truncate_list(value, max_chars)
    if isinstance(value, dict):
        return _truncate_dict(value, max_chars)
    return f"… [left out: {_size(value)} characters]"


def _truncate_text(value: str, max_chars: int) -> str:
    available = max(max_chars - _NOTE_CHARS, 0)
    beginning = value[:available]
    while beginning and _size(beginning) > available:  # quotation marks and line breaks are escaped in JSON
        beginning = beginning[: len(beginning) * 3 // 4]
    return f"{beginning}… [cut: {len(value) - len(beginning)} of {len(value)} characters are missing]"


def _truncate_list(items: list[Any], max_chars: int) -> list[Any]:
    first_items: list[Any] = []
    available = max_chars - _NOTE_CHARS
    for item in items:
        size = _size(item) + 2
        if size > available and first_items:
            break
        if size > available:
            item, size = truncate(item, max(available, 0)), available
        first_items.append(item)
        available -= size
        if available <= _MIN_ITEM_CHARS:
            break
    missing = len(items) - len(first_items)
    if not missing:
        return first_items
    return [*first_items, f"… [cut: {missing} of {len(items)} items are missing]"]


def _truncate_dict(value: dict[str, Any], max_chars: int) -> dict[str, Any]:
    """Small values stay whole. The large ones share the remaining characters."""
    first_keys, available = [], max_chars - _NOTE_CHARS
    for key in value:
        size = _size(key) + 4 + _MIN_ITEM_CHARS
        if size > available:
            break
        first_keys.append(key)
        available -= size
    sizes = {key: _size(value[key]) for key in first_keys}
    shares = _shares(sizes, available + _MIN_ITEM_CHARS * len(first_keys))
    truncated = {key: truncate(value[key], shares[key]) for key in first_keys}
    missing = len(value) - len(first_keys)
    return {**truncated, "…": f"[cut: {missing} of {len(value)} keys are missing]"} if missing else truncated


def _shares(sizes: Mapping[str, int], total: int) -> dict[str, int]:
    """Divide ``total`` characters so that small values get all they need and large ones get equal parts."""
    shares: dict[str, int] = {}
    for position, (key, size) in enumerate(sorted(sizes.items(), key=lambda item: item[1])):
        shares[key] = min(size, max(total, 0) // (len(sizes) - position))
        total -= shares[key]
    return shares


def _size(value: Any) -> int:
    return len(json.dumps(value, ensure_ascii=False))
