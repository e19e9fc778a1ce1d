"""Make any value fit for the log: text that PostgreSQL can store, JSON that it can parse.

Callers pass dates, Decimals, model instances, bytes, NUL bytes and lone surrogates; none of them may keep
a run from leaving its row. What cannot be kept as it is, is kept as near as possible and never raises.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

MAX_TEXT_CHARS = 4_000_000
"""Longer text is cut with a note. Some four bytes a character keep it far below PostgreSQL's 1 GB field."""
MAX_JSON_CHARS = 32_000_000
"""A longer JSON document is replaced by a note: jsonb cannot hold more than 255 MB."""
MAX_VALUES = 200_000
_MAX_DEPTH = 60
_SURROGATE = re.compile("[\ud800-\udfff]")
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


def text(value: str, limit: int = MAX_TEXT_CHARS) -> str:
    """``value`` with U+FFFD for NUL and lone surrogates, cut with a note to ``limit`` characters."""
    if len(value) > limit:
        note = f"… [cut: {len(value)} characters in all]"
        value = value[: max(limit - len(note), 0)] + note
    return _UNSTORABLE.sub("\ufffd", value)


def sendable(value: str) -> str:
    """``value`` with U+FFFD for lone surrogates, which no UTF-8 request can carry."""
    return _SURROGATE.sub("\ufffd", value)


def document(value: Any) -> str:
    """``value`` as JSON text for a jsonb column."""
    if isinstance(value, (list, tuple, dict)) and not value:
        return "{}" if isinstance(value, dict) else "[]"
    encoded = _encode(_Plain().of(value))
    if len(encoded) > MAX_JSON_CHARS:
        return json.dumps({"_cut": f"{len(encoded)} characters of JSON were too long for the log"})
    return encoded


class _Plain:
    """Makes plain JSON values, within a number of them: a value may hold itself, or one part a million times."""

    def __init__(self) -> None:
        self.left = MAX_VALUES
        self.path: set[int] = set()

    def of(self, value: Any) -> Any:
        self.left -= 1
        if self.left < 0:
            return "… [too many values for the log]"
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, str):
            return text(value)
        if isinstance(value, float):
            return value if math.isfinite(value) else str(value)
        if isinstance(value, int):
            # json.dumps and jsonb both refuse integers of thousands of digits.
            return value if abs(value) < 10**30 else shown(value)
        if isinstance(value, (bytes, bytearray, memoryview)):
            return f"[{len(value)} bytes]"
        if isinstance(value, (Mapping, list, tuple)):
            return self._inside(value)
        return shown(value)

    def _inside(self, value: Any) -> Any:
        if id(value) in self.path:
            return "… [holds itself]"
        if len(self.path) >= _MAX_DEPTH:
            return "… [nested too deeply for the log]"
        self.path.add(id(value))
        try:
            if isinstance(value, Mapping):
                return {shown(key): self.of(item) for key, item in self._within(value.items())}
            return [self.of(item) for item in self._within(value)]
        except Exception:  # a mapping of the caller's own making may fail in its own way
            return shown(value)
        finally:
            self.path.discard(id(value))

    def _within(self, items: Iterable[Any]) -> Iterator[Any]:
        for item in items:
            yield item
            if self.left < 0:
                return


def shown(value: Any, limit: int = MAX_TEXT_CHARS) -> str:
    """``str(value)`` as ``text()``, also where the value's own ``__str__`` is broken."""
    try:
        return text(str(value), limit)
    except Exception:  # a broken __str__ of the caller's must not cost the row
        return f"[{type(value).__name__} that cannot be shown as text]"
