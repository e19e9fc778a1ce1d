"""Make any value fit for the log: text that PostgreSQL can store, JSON that it can parse.

Callers pass dates, Decimals, model instances, bytes, NUL bytes and lone surrogates; none of them may keep
a run from leaving its row. What cannot be kept as it is, is kept as near as possible and never raises.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from typing import Any

MAX_TEXT_CHARS = 4_000_000
"""Longer text is cut with a note. Some four bytes a character keep it far below PostgreSQL's 1 GB field."""
MAX_JSON_CHARS = 32_000_000
"""A longer JSON document is replaced by a note: jsonb cannot hold more than 255 MB."""
_MAX_DEPTH = 60
_SURROGATE = re.compile("[\ud800-\udfff]")
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


def text(value: str, limit: int = MAX_TEXT_CHARS) -> str:
    """``value`` with U+FFFD for NUL and lone surrogates, cut with a note after ``limit`` characters."""
    if len(value) > limit:
        value = f"{value[:limit]}… [cut here: {len(value) - limit} more characters]"
    return _UNSTORABLE.sub("\ufffd", value)


def sendable(value: str) -> str:
    """``value`` with U+FFFD for lone surrogates, which no UTF-8 request can carry."""
    return _SURROGATE.sub("\ufffd", value)


def document(value: Any) -> str:
    """``value`` as JSON text for a jsonb column."""
    encoded = json.dumps(_plain(value, 0), ensure_ascii=False, separators=(",", ":"))
    if len(encoded) > MAX_JSON_CHARS:
        return json.dumps({"_cut": f"{len(encoded)} characters of JSON were too long for the log"})
    return encoded


def _plain(value: Any, depth: int) -> Any:
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return text(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, int):
        # json.dumps and jsonb both refuse integers of thousands of digits.
        return value if abs(value) < 10**30 else shown(value)
    if depth >= _MAX_DEPTH:
        return "… [nested too deeply for the log]"
    if isinstance(value, Mapping):
        return {text(shown(key)): _plain(item, depth + 1) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item, depth + 1) for item in value]
    if isinstance(value, (bytes, bytearray, memoryview)):
        return f"[{len(value)} bytes]"
    return shown(value)


def shown(value: Any, limit: int = MAX_TEXT_CHARS) -> str:
    """``str(value)`` as ``text()``, also where the value's own ``__str__`` is broken."""
    try:
        return text(str(value), limit)
    except Exception:  # a broken __str__ of the caller's must not cost the row
        return f"[{type(value).__name__} that cannot be shown as text]"
