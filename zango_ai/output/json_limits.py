"""How deeply JSON from a model may be nested, and how many digits its numbers may have.

The limits stay below those of Python's JSON decoder, which raises ``RecursionError``, and ``ValueError`` for
integers of more than 4,300 digits.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

MAX_DEPTH = 100
MAX_DIGITS = 1_000

# An unterminated string ends with the text, so that the search takes linear time.
_STRING = r'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)'
_TOKEN = re.compile(rf"{_STRING}|[\[\]{{}}]|[0-9]++", re.DOTALL)
_BRACKET = re.compile(rf"{_STRING}|[\[\]{{}}]", re.DOTALL)
_DIGITS_ONLY = {ord(digit): "0" for digit in "123456789"}


def is_within(text: str) -> bool:
    """Whether JSON text is within the limits. The text need not be valid JSON."""
    return next(excesses(text), None) is None


def excesses(text: str) -> Iterator[tuple[int, int]]:
    """The start and end of each part that exceeds a limit: a nested array or object, or a number."""
    has_long_numbers = "0" * (MAX_DIGITS + 1) in text.translate(_DIGITS_ONLY)
    if not has_long_numbers and text.count("[") + text.count("{") <= MAX_DEPTH:
        return
    depth = start = 0
    for token in (_TOKEN if has_long_numbers else _BRACKET).finditer(text):
        first_char = token[0][0]
        if first_char in "[{":
            depth += 1
            start = token.start() if depth == MAX_DEPTH + 1 else start
        elif first_char in "]}":
            if depth == MAX_DEPTH + 1:
                yield start, token.end()
            depth = max(depth - 1, 0)
        elif first_char != '"' and depth <= MAX_DEPTH and len(token[0]) > MAX_DIGITS:
            yield token.span()
    if depth > MAX_DEPTH:
        yield start, len(text)
