"""Mask credentials in text, in every spelling in which a server may echo them, and change nothing else.

``Mask(secrets).apply(text)`` masks a whole text, ``Mask(secrets).stream()`` a text that arrives in chunks. The time
is linear in the length of the text, whatever the text and the secrets are.
"""

from __future__ import annotations

import base64
import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from heapq import heapify, heappop, heappush
from html.entities import html5
from typing import NoReturn

MASK = "[credential]"

_SHORTEST_ENCODED = 8
"""Shorter values are not looked for in hex and base64, where a few characters occur by chance."""
_SLICE = 64 * 1024
"""How many characters of a long text are processed at a time, to limit the memory used."""
_LEVELS = 2
"""How often a text may have been escaped: JSON in JSON, a URL in HTML."""
_LONGEST_ESCAPE = 11
_NAMES = {name: letter for name, letter in html5.items() if letter.isascii() and name[-1] == ";" and len(name) <= 9}
"""HTML's names for ASCII characters, with their semicolon."""
_ESCAPE = re.compile(
    r"\\u00([2-7][0-9a-fA-F])|\\x([2-7][0-9a-fA-F])|%([2-7][0-9a-fA-F])|&#[xX]0{0,4}([2-7][0-9a-fA-F]);"
    rf"|&#0{{0,4}}([0-9]{{2,3}});|\\([\"'/\\])|&({'|'.join(sorted(_NAMES))})"
)
"""One character as JSON, Python, a URL or HTML may write it. No escape is the beginning of another."""
_CUT_ESCAPE = re.compile(r"(?:\\(?:u0{0,2}|u00[2-7]|x[2-7]?)?|%[2-7]?|&[#A-Za-z0-9]{0,8})\Z")


class Mask:
    """Replaces a set of secrets in a text by ``[credential]``.

    A secret is found as it is, with any of its characters escaped for JSON, Python, a URL or HTML (once or twice),
    in hex, and in base64 of any text that contains it. Secrets shorter than ``shortest`` are left alone.

    Where several secrets begin at one place, the longest is masked. The object never shows the secrets.
    """

    __slots__ = ("_spellings", "longest")

    longest: int
    """No spelling of a secret is longer. A stream holds back no more than this and one escape."""

    def __init__(self, secrets: Iterable[str], *, shortest: int = 1) -> None:
        kept = [secret for secret in secrets if secret.strip() and len(secret) >= shortest]
        self._spellings = sorted({spelling for secret in kept for spelling in _spellings_of(secret)})
        self.longest = max(map(len, self._spellings), default=0) * _LONGEST_ESCAPE**_LEVELS

    def apply(self, text: str) -> str:
        """``text`` with every secret masked."""
        if not self._spellings:
            return text
        stream = self.stream()
        pieces = [stream.feed(text[start : start + _SLICE]) for start in range(0, len(text), _SLICE)]
        return "".join([*pieces, stream.finish()])

    def stream(self) -> MaskStream:
        """A masker for one text that arrives in chunks."""
        return MaskStream(self._spellings)

    def __repr__(self) -> str:
        return "<Mask>"

    def __reduce__(self) -> NoReturn:
        raise TypeError("A Mask holds credentials and cannot be pickled or copied.")


class MaskStream:
    """Masks one text in chunks: what ``feed`` and ``finish`` return together is what ``Mask.apply`` returns.

    ``feed`` holds back only the end that may be the beginning of a secret.
    """

    __slots__ = ("_held", "_spellings")

    def __init__(self, spellings: Sequence[str]) -> None:
        self._spellings = spellings
        self._held = ""

    def feed(self, chunk: str) -> str:
        """The part of the masked text that no later chunk can change."""
        if not self._spellings:
            return chunk
        masked, self._held = _masked(self._held + chunk, self._spellings, is_all=False)
        return masked

    def finish(self) -> str:
        """The rest of the masked text."""
        masked, self._held = _masked(self._held, self._spellings, is_all=True)
        return masked

    def __repr__(self) -> str:
        return "<MaskStream>"

    def __reduce__(self) -> NoReturn:
        raise TypeError("A MaskStream may hold part of a credential and cannot be pickled or copied.")


def _spellings_of(secret: str) -> Iterator[str]:
    """A secret as it is, in hex, and as it stands in base64 of a text that contains it."""
    yield secret
    if len(secret) < _SHORTEST_ENCODED:
        return
    data = secret.encode("utf-8", "surrogatepass")
    yield from (data.hex(), data.hex().upper())
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        yield encode(data).decode().rstrip("=")
        for offset in range(3):
            coded = encode(bytes(offset) + data + bytes(2)).decode()
            # The characters that hold bits of the secret alone: its neighbours decide about those at the edges.
            yield coded[-(-8 * offset // 6) : 8 * (offset + len(data)) // 6]


@dataclass(slots=True, repr=False)
class _Layer:
    """A text after some levels of escapes were undone, and where its characters stand in the text as it came."""

    text: str
    below: _Layer | None = None
    """The text with one more level of escapes; None for the text as it came."""
    at: list[int] = field(default_factory=list)
    """Where the characters stand that were escaped, one by one."""
    starts: list[int] = field(default_factory=list)
    """Where their escapes begin in the text below."""
    ends: list[int] = field(default_factory=list)

    def source(self, index: int) -> int:
        """Where the character at ``index`` begins in the text as it came."""
        if self.below is None:
            return index
        nth = bisect_right(self.at, index) - 1
        if nth >= 0:
            index = self.starts[nth] if index == self.at[nth] else self.ends[nth] + index - self.at[nth] - 1
        return self.below.source(index)

    def index(self, source: int) -> int:
        """The first character that begins at or after ``source`` in the text as it came."""
        if self.below is None:
            return source
        place = self.below.index(source)
        nth = bisect_right(self.starts, place) - 1
        if nth < 0:
            return place
        return self.at[nth] + (0 if place == self.starts[nth] else 1 + max(place - self.ends[nth], 0))

    def unescaped(self) -> _Layer:
        """The text with one level of escapes undone."""
        layer, pieces, done, length = _Layer("", self), [], 0, 0
        for escape in _ESCAPE.finditer(self.text):
            length += escape.start() - done
            layer.at.append(length)
            layer.starts.append(escape.start())
            layer.ends.append(escape.end())
            pieces += [self.text[done : escape.start()], _character(escape)]
            length, done = length + 1, escape.end()
        layer.text = "".join([*pieces, self.text[done:]])
        return layer


def _character(escape: re.Match[str]) -> str:
    group, written = escape.lastindex, escape[escape.lastindex or 0]
    if group == 7:
        return _NAMES[written]
    return written if group == 6 else chr(int(written, 10 if group == 5 else 16))


def _masked(text: str, spellings: Sequence[str], *, is_all: bool) -> tuple[str, str]:
    """The masked text, and the end of ``text`` that may be the beginning of a secret: none where this is all."""
    layers, end = _layers(text, is_all=is_all)
    cuts = [] if is_all else sorted(_cut_secrets(layers, spellings))
    pieces, done = [], 0
    found = [secret for layer in layers for each in spellings if (secret := _find(layer, each, 0))]
    heapify(found)
    while found:
        secret = heappop(found)
        if secret.start >= done:
            if next((cut for cut in cuts if cut >= done), end) <= secret.start:
                break
            pieces += [text[done : secret.start], MASK]
            done = layers[-1].source(layers[-1].index(-secret.minus_end))
        another = _find(secret.layer, secret.spelling, done)
        if another is not None:
            heappush(found, another)
    held = next((cut for cut in cuts if cut >= done), end)
    return "".join([*pieces, text[done:held]]), text[held:]


def _layers(text: str, *, is_all: bool) -> tuple[list[_Layer], int]:
    """The text, and what it is with its escapes undone; up to where an escape may be cut off at its end."""
    layers, end = [_Layer(text)], len(text)
    for _ in range(_LEVELS):
        layer = layers[-1]
        above = layer.unescaped()
        searched = max(above.ends[-1] if above.ends else 0, len(layer.text) - _LONGEST_ESCAPE)
        cut = None if is_all else _CUT_ESCAPE.search(layer.text, searched)
        if cut is not None:
            end = layer.source(cut.start())
            above.text = above.text[: len(above.text) - (len(layer.text) - cut.start())]
        layers.append(above)
    for layer in layers:
        layer.text = layer.text[: layer.index(end)]
    while len(layers) > 1 and not layers[-1].at:
        layers.pop()
    return layers, end


@dataclass(slots=True, order=True, repr=False)
class _Found:
    """A secret in a text. In order: by its beginning, the longer first."""

    start: int
    minus_end: int
    layer: _Layer = field(compare=False)
    spelling: str = field(compare=False)


def _find(layer: _Layer, spelling: str, done: int) -> _Found | None:
    """The first place at or after ``done`` where the secret stands."""
    place = layer.text.find(spelling, layer.index(done))
    if place < 0:
        return None
    return _Found(layer.source(place), -layer.source(place + len(spelling)), layer, spelling)


def _cut_secrets(layers: Sequence[_Layer], spellings: Iterable[str]) -> Iterator[int]:
    """Where a secret may begin that goes on after the end, put back to where no escape is torn."""
    top = layers[-1]
    for layer in layers:
        text = layer.text
        for spelling in spellings:
            place = text.find(spelling[0], max(len(text) - len(spelling) + 1, 0))
            while place >= 0:
                if spelling.startswith(text[place:]):
                    source = layer.source(place)
                    index = top.index(source)
                    yield top.source(index - 1 if top.source(index) > source else index)
                place = text.find(spelling[0], place + 1)
