"""How deeply JSON from a model may be nested, and how long its numbers may be.

Beyond them Python's JSON reader raises errors of its own: ``RecursionError``, and ``ValueError`` for integers
of more than 4,300 digits.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

MAX_DEPTH = 100
MAX_DIGITS = 1_000

# A string that is not closed ends with the text, so that a search stays linear.
_STRING = r'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)'
_TOKEN = re.compile(rf"{_STRING}|[\[\]{{}}]|[0-9]++", re.DOTALL)
_BRACKET = re.compile(rf"{_STRING}|[\[\]{{}}]", re.DOTALL)
_DIGITS_ONLY = {ord(digit): "0" for digit in "123456789"}


def is_within(text: str) -> bool:
    """Whether JSON text keeps the limits. Text that is not JSON at all may do so, too."""
    return next(excesses(text), None) is None


def excesses(text: str) -> Iterator[tuple[int, int]]:
    """Start and end of each part of JSON text that exceeds a limit: a nested array or object, or a number."""
    has_long_numbers = "0" * (MAX_DIGITS + 1) in text.translate(_DIGITS_ONLY)
    if not has_long_numbers and text.count("[") + text.count("{") <= MAX_DEPTH:
        return
    depth = start = 0
    for token in (_TOKEN if has_long_numbers else _BRACKET).finditer(text):
        sign = token[0][0]
        if sign in "[{":
            depth += 1
            start = token.start() if depth == MAX_DEPTH + 1 else start
        elif sign in "]}":
            if depth == MAX_DEPTH + 1:
                yield start, token.end()
            depth = max(depth - 1, 0)
        elif sign != '"' and depth <= MAX_DEPTH and len(token[0]) > MAX_DIGITS:
            yield token.span()
    if depth > MAX_DEPTH:
        yield start, len(text)
