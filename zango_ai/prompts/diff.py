"""Compare two texts line by line, and changed lines word by word."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Literal

MAX_COMPARED_LINES = 1_500
"""Longer texts are compared line by line in order: matching takes time squared in their length."""
_MAX_COMPARED_CHARS = 500
_MAX_COMPARED_WORDS = 20_000
"""Of all changed lines together. Further ones are shown as removed and added."""
_MIN_SIMILARITY = 0.3
"""Lines that have less in common are shown as removed and added."""
_TOKENS = re.compile(r"\w+|\s+|[^\w\s]")

Operation = tuple[str, int, int, int, int]
"""As ``SequenceMatcher.get_opcodes()`` returns it."""
Segment = tuple[str, bool]
"""A part of a line, and whether it differs from the other text."""


@dataclass(frozen=True, slots=True)
class DiffRow:
    """One line of the old text beside one of the new text. A side that has no such line is None."""

    kind: Literal["same", "changed", "removed", "added"]
    old_number: int | None
    """From 1."""
    old: tuple[Segment, ...]
    new_number: int | None
    new: tuple[Segment, ...]


def compare(old: str, new: str) -> list[DiffRow]:
    """The rows of a side-by-side comparison, in the order of the texts."""
    return list(_Comparison(old.split("\n"), new.split("\n")).rows())


class _Comparison:
    def __init__(self, old: Sequence[str], new: Sequence[str]) -> None:
        self._old, self._new = old, new
        self._words_left = _MAX_COMPARED_WORDS

    def rows(self) -> Iterator[DiffRow]:
        for tag, old_start, old_end, new_start, new_end in self._blocks():
            paired = min(old_end - old_start, new_end - new_start)
            for offset in range(paired):
                if tag == "equal" or self._old[old_start + offset] == self._new[new_start + offset]:
                    yield self._same(old_start + offset, new_start + offset)
                else:
                    yield from self._changed(old_start + offset, new_start + offset)
            for position in range(old_start + paired, old_end):
                yield self._removed(position)
            for position in range(new_start + paired, new_end):
                yield self._added(position)

    def _blocks(self) -> Sequence[Operation]:
        old, new = self._old, self._new
        if max(len(old), len(new)) > MAX_COMPARED_LINES:
            return [("replace", 0, len(old), 0, len(new))]
        return SequenceMatcher(None, old, new, autojunk=False).get_opcodes()

    def _changed(self, old_position: int, new_position: int) -> Iterator[DiffRow]:
        segments = self._compare_words(self._old[old_position], self._new[new_position])
        if segments is None:
            yield self._removed(old_position)
            yield self._added(new_position)
        else:
            yield DiffRow("changed", old_position + 1, segments[0], new_position + 1, segments[1])

    def _same(self, old_position: int, new_position: int) -> DiffRow:
        line = ((self._old[old_position], False),)
        return DiffRow("same", old_position + 1, line, new_position + 1, line)

    def _removed(self, position: int) -> DiffRow:
        return DiffRow("removed", position + 1, ((self._old[position], True),), None, ())

    def _added(self, position: int) -> DiffRow:
        return DiffRow("added", None, (), position + 1, ((self._new[position], True),))

    def _compare_words(self, old: str, new: str) -> tuple[tuple[Segment, ...], tuple[Segment, ...]] | None:
        """The segments of both lines. None if they have too little in common, or are too long to compare."""
        old_words, new_words = _TOKENS.findall(old), _TOKENS.findall(new)
        self._words_left -= len(old_words) + len(new_words)
        if max(len(old), len(new)) > _MAX_COMPARED_CHARS or self._words_left < 0:
            return None
        matcher = SequenceMatcher(None, old_words, new_words, autojunk=False)
        operations = matcher.get_opcodes()
        if _similarity(operations, old_words, new_words) < _MIN_SIMILARITY:
            return None
        old_parts = [(tag, start, end) for tag, start, end, _, _ in operations]
        new_parts = [(tag, start, end) for tag, _, _, start, end in operations]
        return _segments(old_parts, old_words), _segments(new_parts, new_words)


def _similarity(operations: Sequence[Operation], old: Sequence[str], new: Sequence[str]) -> float:
    """From 0 to 1, without counting white space."""
    common = sum(
        not word.isspace() for tag, start, end, _, _ in operations if tag == "equal" for word in old[start:end]
    )
    return 2 * common / (sum(not word.isspace() for word in (*old, *new)) or 1)


def _segments(parts: Sequence[tuple[str, int, int]], words: Sequence[str]) -> tuple[Segment, ...]:
    return tuple(("".join(words[start:end]), tag != "equal") for tag, start, end in parts if end > start)
