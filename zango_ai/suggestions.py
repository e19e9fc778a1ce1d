"""Suggest the name that somebody meant."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

_MAX_CHARS = 100
"""Comparing takes the square of the length."""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A sentence with the known name that is most alike, with a space before it; "" where none is."""
    by_folded = {each[:_MAX_CHARS].casefold(): each for each in known}
    found = get_close_matches(name[:_MAX_CHARS].casefold(), by_folded, n=1)
    return f" Did you mean {by_folded[found[0]]!r}?" if found else ""
