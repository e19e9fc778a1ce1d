"""Find the vendor's message in the body of an error, and make it safe to show.

A vendor may echo the request. Credentials, encoded content and pieces of the request are removed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from ..types import ModelRequest
from .masking import Mask

MAX_SHOWN = 300
"""Characters of a vendor's words in a message."""
MAX_KEPT = 2_000
"""Characters of a vendor's words in a log row, and of any text on ``original_error``."""
CONTENT = "[content]"
"""Stands in the words for what was sent, and for encoded content."""

_ENCODED = re.compile(r"[A-Za-z0-9+/_-]{70,}={0,2}")
"""Base64, also in lines of 76. A SHA-256 digest in hex is shorter."""
_PIECE = 16
"""A piece of the request of this many letters and digits is taken out."""
_PROBE = 8
_SHORTEST_VALUE = 4
"""A text of the request that is shorter than a piece is taken out as a whole word, from this length on."""
_LONGEST_VALUE = 1_000
_SLICE = 256 * 1024
_OVERLAP = 8 * MAX_KEPT
_NOT_LETTERS = re.compile(r"[\W_]+")
_LETTER = re.compile(r"\\+u([0-9a-fA-F]{4})|\\+[nrtbf]|.", re.DOTALL)
_NAMES = ("message", "Message", "error", "errorMessage", "error_description", "detail", "msg", "title", "reason")
"""Where the vendors' documents have their text, in this order."""
_MAX_DEPTH = 6
_Text = TypeVar("_Text", str, bytes)


def message_in(body: bytes) -> str:
    """The message in the body of an error: any vendor's JSON, an HTML page, or plain text; else an empty text."""
    try:
        return _message(json.loads(body), 0)
    except (ValueError, RecursionError):
        pass
    text = body[:64_000].decode("utf-8", "replace").strip()
    if text[:1] in {"{", "["}:
        return ""  # JSON that is cut off, or more of it than a message
    return _of_page(text) if text.startswith("<") else text


def _message(value: Any, depth: int) -> str:
    if isinstance(value, str):
        return value.strip()
    if depth == _MAX_DEPTH:
        return ""
    if isinstance(value, Mapping):
        inner = (_message(value[name], depth + 1) for name in _NAMES if value.get(name))
        return next(filter(None, inner), "")
    if isinstance(value, list):
        return "; ".join(filter(None, (_message(item, depth + 1) for item in value[:3])))
    return ""


def _of_page(page: str) -> str:
    """The title of an HTML page, else its text."""
    lowered = page.lower()
    for tag in ("title", "h1"):
        start = lowered.find(f"<{tag}")
        end = lowered.find(f"</{tag}", start)
        if 0 <= start < end and (title := _without_tags(page[start:end])):
            return title
    return _without_tags(page)


def _without_tags(page: str) -> str:
    return " ".join(re.sub(r"<[^<>]*>?", " ", page).split())


@dataclass(frozen=True, slots=True, repr=False)
class Cleaner:
    """Removes secrets and request content from a vendor's message."""

    mask: Mask
    request: ModelRequest | None = None
    """What was sent."""

    def cleaned(self, words: str) -> str:
        """``words`` without credentials, encoded content and pieces of the request, and not too long."""
        words = _ENCODED.sub(CONTENT, self.mask.apply(words))[:MAX_KEPT]
        if self.request is not None:
            words = _without(words, _texts(self.request))
        return words

    def shown(self, words: str) -> str:
        """``words`` on one line, for a message."""
        printable = "".join(char if char.isprintable() else " " for char in self.cleaned(words))
        line = " ".join(printable.split())
        return line if len(line) <= MAX_SHOWN else line[: MAX_SHOWN - 1] + "…"


def _texts(request: ModelRequest) -> Iterator[str]:
    """Every text in the request that is not configuration, and every value inside of those that are JSON."""
    for message in request.messages:
        for text in (message.content, *(call.arguments for call in message.tool_calls)):
            yield from _slices(text)
            if text[:1] in {"{", "["} and len(text) < _SLICE:
                yield from _values(text)
        for file in message.files:
            yield file.filename
            if file.is_text and file.data is not None:
                yield from (str(piece, "utf-8", "replace") for piece in _slices(file.data))


def _slices(text: _Text) -> Iterator[_Text]:
    """The text in slices that overlap by more than the words are long: copies of the whole would take memory."""
    for start in range(0, len(text), _SLICE):
        yield text[start : start + _SLICE + _OVERLAP]


def _values(document: str) -> Iterator[str]:
    try:
        waiting = [json.loads(document)]
    except (ValueError, RecursionError):
        return
    while waiting:
        value = waiting.pop()
        if isinstance(value, (Mapping, list)):
            waiting.extend(value.values() if isinstance(value, Mapping) else value)
        elif isinstance(value, (str, int, float)) and not isinstance(value, bool):
            yield str(value)


def _without(words: str, texts: Iterable[str]) -> str:
    """``words`` with what they share with the texts taken out: long pieces of any, and short texts as a whole."""
    letters, places = _letters_of(words)
    taken, lower = bytearray(len(words)), words.lower()
    for text in texts:
        if len(text) < _LONGEST_VALUE and text.strip().lower() in lower:
            value = text.strip()
            if len(_NOT_LETTERS.sub("", value)) >= _SHORTEST_VALUE:
                for found in re.finditer(rf"(?<!\w){re.escape(value)}(?!\w)", words, re.IGNORECASE):
                    _take(taken, *found.span())
        if len(letters) >= _PIECE:
            for start, end in _shared(letters, _NOT_LETTERS.sub("", text).lower()):
                _take(taken, places[start][0], places[end - 1][1])
    pieces = re.finditer(rb"\x00+|\x01+", bytes(taken))
    return "".join(CONTENT if taken[piece.start()] else words[slice(*piece.span())] for piece in pieces)


def _take(taken: bytearray, start: int, end: int) -> None:
    taken[start:end] = b"\x01" * (end - start)


def _letters_of(words: str) -> tuple[str, list[tuple[int, int]]]:
    """The letters and digits, in lower case, also where they are escaped; and where each stands."""
    letters, places = [], []
    for found in _LETTER.finditer(words):
        letter = chr(int(found[1], 16)) if found[1] else found[0]
        for lowered in letter.lower() if len(letter) == 1 and letter.isalnum() else "":
            letters.append(lowered)
            places.append(found.span())
    return "".join(letters), places


def _shared(letters: str, text: str) -> Iterator[tuple[int, int]]:
    """Pieces of ``letters`` that stand in ``text``, of ``_PIECE`` letters at least."""
    done = 0
    for start in range(0, len(letters) - _PROBE + 1, _PROBE):
        place = text.find(letters[start : start + _PROBE]) if start >= done else -1
        for _ in range(50):
            if place < 0:
                break
            before = _alike(reversed(letters[:start]), reversed(text[max(place - start, 0) : place]))
            after = _alike(letters[start:], text[place : place + len(letters)])
            if before + after >= _PIECE:
                yield start - before, start + after
                done = max(done, start + after)
            place = text.find(letters[start : start + _PROBE], place + 1)


def _alike(one: Iterable[str], other: Iterable[str]) -> int:
    """How many characters are the same, from the beginning."""
    count = 0
    for first, second in zip(one, other, strict=False):
        if first != second:
            break
        count += 1
    return count
