"""Patterns and formats on a linear-time engine: Rust's ``regex``, as jsonschema_rs brings it.

Its time is linear in the text, but each character can take as long as the compiled pattern is large.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from .subschemas import DATA

MAX_CHARS = 1_000
MAX_PATTERNS = 100
"""In one schema: each keeps a cache of its own."""

_CACHE_BYTES = 256_000
_UNITS_BY_BYTES = {10_000: 20, 30_000: 80, 100_000: 280, 300_000: 840, 1_000_000: 2_800}
"""Compiled size, and the most that a character takes at this size. Measured with ``[ab]*a[ab]{n}c``."""


def options() -> Any:
    """What a validator has to be made with."""
    return _options(max(_UNITS_BY_BYTES))


def _options(size: int) -> Any:
    import jsonschema_rs

    return jsonschema_rs.RegexOptions(size_limit=size, dfa_size_limit=_CACHE_BYTES)


@lru_cache(1024)
def units_per_char(pattern: str) -> int | None:
    """The most units of ``cost.py`` that a character may take; None for a pattern that the engine does not take."""
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
    """Why a pattern cannot be used; None if it can."""
    if units_per_char(pattern) is not None:
        return None
    if len(pattern) > MAX_CHARS:
        return f"the pattern has {len(pattern)} characters; {MAX_CHARS} are allowed."
    return (
        f"the pattern {pattern!r} is not supported. Patterns run on a linear-time engine, without lookahead, "
        "lookbehind and backreferences, and with small repetition counts. Use maxLength to limit a text's length."
    )


def matches(pattern: str, text: str) -> bool:
    return bool(_checker("pattern", pattern).is_valid(text))


def has_format(name: str, text: str) -> bool:
    """True also for a format that is not known."""
    return bool(_checker("format", name).is_valid(text))


@lru_cache(1024)
def _checker(keyword: str, value: str) -> Any:
    import jsonschema_rs

    return jsonschema_rs.Draft202012Validator(
        {keyword: value}, pattern_options=options(), validate_formats=True, ignore_unknown_formats=True
    )


def without_unsupported(schema: Any) -> Any:
    """The schema without the patterns of texts that the engine does not take."""
    if isinstance(schema, list):
        return [without_unsupported(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        key: value if key in DATA else without_unsupported(value)
        for key, value in schema.items()
        if not (key == "pattern" and isinstance(value, str) and problem_of(value))
    }
