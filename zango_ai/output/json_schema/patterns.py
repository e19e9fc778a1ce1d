"""Patterns and formats, matched in linear time by Rust's ``regex``, which jsonschema_rs includes.

The time is linear in the text. The time per character grows with the size of the compiled pattern.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from .subschemas import DATA

MAX_CHARS = 1_000
MAX_PATTERNS = 100
"""In one schema. Each pattern has its own cache."""

_CACHE_BYTES = 256_000
_UNITS_BY_BYTES = {10_000: 20, 30_000: 80, 100_000: 280, 300_000: 840, 1_000_000: 2_800}
"""Compiled size, and the maximum units per character at this size. Measured with ``[ab]*a[ab]{n}c``."""


def options() -> Any:
    """The ``pattern_options`` of every validator."""
    return _options(max(_UNITS_BY_BYTES))


def _options(size: int) -> Any:
    import jsonschema_rs

    return jsonschema_rs.RegexOptions(size_limit=size, dfa_size_limit=_CACHE_BYTES)


@lru_cache(1024)
def units_per_char(pattern: str) -> int | None:
    """The maximum units (see ``cost``) per character; None for an unsupported pattern."""
    import jsonschema_rs

    if len(pattern) > MAX_CHARS:
        return None
    for size, units in _UNITS_BY_BYTES.items():
        try:
            jsonschema_rs.Draft202012Validator({"pattern": pattern}, pattern_options=_options(size))
        except (jsonschema_rs.ValidationError, ValueError):
            continue
        return units
    return None


def problem_of(pattern: str) -> str | None:
    """Why a pattern cannot be used, or None."""
    if units_per_char(pattern) is not None:
        return None
    if len(pattern) > MAX_CHARS:
        return f"the pattern has {len(pattern)} characters; at most {MAX_CHARS} are allowed."
    return (
        f"the pattern {pattern!r} is not supported. Patterns run on a linear-time engine, without lookahead, "
        "lookbehind or backreferences, and with small repetition counts. Use maxLength to limit a text's length."
    )


def matches(pattern: str, text: str) -> bool:
    return bool(_checker("pattern", pattern).is_valid(text))


def has_format(name: str, text: str) -> bool:
    """True for an unknown format."""
    return bool(_checker("format", name).is_valid(text))


@lru_cache(1024)
def _checker(keyword: str, value: str) -> Any:
    import jsonschema_rs

    return jsonschema_rs.Draft202012Validator(
        {keyword: value}, pattern_options=options(), validate_formats=True, ignore_unknown_formats=True
    )


def without_unsupported(schema: Any) -> Any:
    """The schema without unsupported patterns."""
    if isinstance(schema, list):
        return [without_unsupported(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        key: value if key in DATA else without_unsupported(value)
        for key, value in schema.items()
        if not (key == "pattern" and isinstance(value, str) and problem_of(value))
    }
