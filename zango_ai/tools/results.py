"""What a tool returns, as what a model is sent: plain JSON of a bounded size."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from .. import sanitize

_NOTE_CHARS = 80
_LEAST_ITEM_CHARS = 40
_MOST_DEPTH = 60


def plain(value: Any) -> Any:
    """Dates, Decimals, UUIDs, sets, dataclasses and pydantic models as JSON values; Decimals as text.

    Raises TypeError or ValueError for what has no form in JSON: a model's row, a query, what holds itself.
    """
    from pydantic_core import to_jsonable_python

    _refuse_iterators(value)
    return _tidy(to_jsonable_python(value, by_alias=True, fallback=_text_of))


def _refuse_iterators(value: Any, depth: int = 0) -> None:
    """pydantic would read them to their end outside of Python, where nothing could stop it."""
    if isinstance(value, Iterator):
        raise TypeError(f"it holds a {type(value).__name__}, which may never end: return a list of it")
    inner: Iterable[Any] = ()
    if isinstance(value, dict):
        inner = value.values()
    elif isinstance(value, (list, tuple, set, frozenset)):
        inner = value
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        inner = [getattr(value, field.name, None) for field in dataclasses.fields(value)]
    for each in inner if depth < _MOST_DEPTH else ():
        _refuse_iterators(each, depth + 1)


def _text_of(value: Any) -> Any:
    if type(value).__name__ == "__proxy__":  # Django's lazy text
        return str(value)
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"it holds a {type(value).__name__}, which has no form in JSON")


def _tidy(value: Any, depth: int = 0) -> Any:
    """JSON knows no infinity; and what is nested too deeply, no model reads."""
    if depth > _MOST_DEPTH:
        raise ValueError("it is nested too deeply")
    if isinstance(value, dict):
        return {key: _tidy(inner, depth + 1) for key, inner in value.items()}
    if isinstance(value, list):
        return [_tidy(inner, depth + 1) for inner in value]
    return json.dumps(value) if isinstance(value, float) and not math.isfinite(value) else value


def encoded(value: Any) -> str:
    """The text that is sent to the model: of a str itself, of anything else its JSON."""
    # Some vendors refuse a result without text.
    is_text = isinstance(value, str) and value.strip()
    return sanitize.sendable(value if is_text else json.dumps(value, ensure_ascii=False))


def cut(value: Any, limit: int) -> Any:
    """The value with no more than about ``limit`` characters of JSON, and notes of how much is missing where.

    Whole items and keys are left out at the end; a text that alone is too long is ended early.
    """
    return value if _size(value) <= limit else _cut(value, limit)


def _cut(value: Any, limit: int) -> Any:
    if isinstance(value, str):
        return _cut_text(value, limit)
    if isinstance(value, list):
        return _cut_items(value, limit)
    if isinstance(value, dict):
        return _cut_keys(value, limit)
    return f"… [left out: {_size(value)} characters]"


def _cut_text(value: str, limit: int) -> str:
    kept = value[: max(limit - _NOTE_CHARS, 0)]
    while kept and _size(kept) > max(limit - _NOTE_CHARS, 0):  # quotation marks and line breaks take more
        kept = kept[: len(kept) * 3 // 4]
    return f"{kept}… [cut: {len(value) - len(kept)} of {len(value)} characters are missing]"


def _cut_items(items: list[Any], limit: int) -> list[Any]:
    kept: list[Any] = []
    left = limit - _NOTE_CHARS
    for item in items:
        size = _size(item) + 2
        if size > left and kept:
            break
        if size > left:
            item, size = cut(item, max(left, 0)), left
        kept.append(item)
        left -= size
        if left <= _LEAST_ITEM_CHARS:
            break
    missing = len(items) - len(kept)
    return [*kept, f"… [cut: {missing} of {len(items)} items are missing]"] if missing else kept


def _cut_keys(value: dict[str, Any], limit: int) -> dict[str, Any]:
    """Small values stay whole; the large ones share what is left."""
    sizes = {key: _size(key) + 4 for key in value}
    kept, left = [], limit - _NOTE_CHARS
    for key in value:
        if sizes[key] + _LEAST_ITEM_CHARS > left:
            break
        kept.append(key)
        left -= sizes[key] + _LEAST_ITEM_CHARS
    share = _shares({key: _size(value[key]) for key in kept}, left + _LEAST_ITEM_CHARS * len(kept))
    made = {key: cut(value[key], share[key]) for key in kept}
    missing = len(value) - len(kept)
    return {**made, "…": f"[cut: {missing} of {len(value)} keys are missing]"} if missing else made


def _shares(sizes: Mapping[str, int], total: int) -> dict[str, int]:
    """So many characters for each, that the small ones have all they need."""
    shares: dict[str, int] = {}
    for left, (key, size) in enumerate(sorted(sizes.items(), key=lambda each: each[1])):
        shares[key] = min(size, max(total, 0) // (len(sizes) - left))
        total -= shares[key]
    return shares


def _size(value: Any) -> int:
    return len(json.dumps(value, ensure_ascii=False))
