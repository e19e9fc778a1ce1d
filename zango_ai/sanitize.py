"""Convert any value to text or JSON that PostgreSQL can store.

Callers pass dates, Decimals, model instances, bytes, NUL bytes and lone surrogates. No value may prevent a run from
being logged. A value that cannot be stored is replaced by the closest one that can; nothing here raises.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

MAX_TEXT_CHARS = 4_000_000
"""Longer text is truncated. At four bytes per character, this is far below PostgreSQL's limit of 1 GB."""
MAX_JSON_CHARS = 32_000_000
"""A longer JSON document is replaced by a note, because jsonb stores at most 255 MB."""
MAX_VALUES = 200_000
_MAX_DEPTH = 60
_SURROGATE = re.compile("[\ud800-\udfff]")
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


def text(value: str, limit: int = MAX_TEXT_CHARS) -> str:
    """``value`` with U+FFFD for NUL and lone surrogates, truncated with a note to ``limit`` characters."""
    if len(value) > limit:
        note = f"… [cut: {len(value)} characters in all]"
        value = value[: max(limit - len(note), 0)] + note
    return _UNSTORABLE.sub("\ufffd", value)


def sendable(value: str) -> str:
    """``value`` with U+FFFD for lone surrogates, which UTF-8 cannot encode."""
    return _SURROGATE.sub("\ufffd", value)


def document(value: Any) -> str:
    """``value`` as JSON text for a jsonb column."""
    if isinstance(value, (list, tuple, dict)) and not value:
        return "{}" if isinstance(value, dict) else "[]"
    encoded = _encode(_JSONConverter().convert(value))
    return too_long(len(encoded)) if len(encoded) > MAX_JSON_CHARS else encoded


def too_long(chars: int) -> str:
    """The note, as JSON text, in place of a document of that many characters."""
    return json.dumps({"_cut": f"{chars} characters of JSON were too long for the log"})


class _JSONConverter:
    """Converts a value to plain JSON values, up to a number of them: a value may contain itself."""

    def __init__(self) -> None:
        self._values_left = MAX_VALUES
        self._open_containers: set[int] = set()
        """Ids of the containers around the current value."""

    def convert(self, value: Any) -> Any:
        self._values_left -= 1
        if self._values_left < 0:
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
            return self._convert_container(value)
        return shown(value)

    def _convert_container(self, value: Any) -> Any:
        if id(value) in self._open_containers:
            return "… [contains itself]"
        if len(self._open_containers) >= _MAX_DEPTH:
            return "… [nested too deeply for the log]"
        self._open_containers.add(id(value))
        try:
            if isinstance(value, Mapping):
                return {shown(key): self.convert(item) for key, item in self._bounded(value.items())}
            return [self.convert(item) for item in self._bounded(value)]
        except Exception:  # a caller's own mapping class may raise anything
            return shown(value)
        finally:
            self._open_containers.discard(id(value))

    def _bounded(self, items: Iterable[Any]) -> Iterator[Any]:
        for item in items:
            yield item
            if self._values_left < 0:
                return


def shown(value: Any, limit: int = MAX_TEXT_CHARS) -> str:
    """``text(str(value))``, also if the value's ``__str__`` raises."""
    try:
        return text(str(value), limit)
    except Exception:  # the run must be logged anyway
        return f"[{type(value).__name__} that cannot be shown as text]"
