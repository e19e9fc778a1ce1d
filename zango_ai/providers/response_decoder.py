"""Decode a response body piece by piece, within bounds.

A few hundred bytes of gzip can hold gigabytes. Nothing is decoded beyond the bound, and only one layer of gzip.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

import httpx

if TYPE_CHECKING:
    from zlib import _Decompress

ACCEPTED = "gzip"
"""For the Accept-Encoding header."""
MAX_PIECES = 250_000
"""No real answer has more events. A server that sends single bytes would keep the process busy."""
_PIECE = 64 * 1024


class UnreadableResponse(Exception):
    """The body will not be read. ``str()`` is the rest of a sentence that ends in "sent"."""


class Decoder:
    """Decodes one body. Raises UnreadableResponse beyond ``max_bytes`` and for any encoding but gzip."""

    def __init__(self, encoding: str, max_bytes: int, max_pieces: int = MAX_PIECES) -> None:
        """``encoding`` is the Content-Encoding header, or ""."""
        named = encoding.strip().lower()
        if named not in {"", "identity", "gzip", "x-gzip"}:
            raise UnreadableResponse(f"an answer with Content-Encoding {encoding[:100]!r}; only gzip is supported")
        self._inflate = _gunzip() if "gzip" in named else None
        self._max_bytes, self._bytes_left, self._wire_bytes_left = max_bytes, max_bytes, max_bytes
        self._max_pieces, self._pieces_left = max_pieces, max_pieces

    def decode(self, data: bytes) -> Iterator[bytes]:
        """``data`` decoded, in pieces of up to 64 KiB. Read them all before the next call."""
        self._pieces_left -= 1
        self._wire_bytes_left -= len(data)
        if self._pieces_left < 0:
            raise UnreadableResponse(f"an answer in more than {self._max_pieces} pieces")
        if self._wire_bytes_left < 0:
            raise self._too_long()
        if self._inflate is None:
            for start in range(0, len(data), _PIECE):
                yield self._counted(data[start : start + _PIECE])
        else:
            yield from self._inflated(data)

    def finish(self) -> None:
        """Call this at the end of the body. Raises httpx.ReadError if the compressed data is incomplete."""
        has_begun = self._pieces_left < self._max_pieces
        if self._inflate is not None and has_begun and not self._inflate.eof:
            raise httpx.ReadError("The compressed answer ends too early.")

    def _inflated(self, data: bytes) -> Iterator[bytes]:
        rest, is_full = data, False
        while rest or is_full:
            assert self._inflate is not None
            if self._inflate.eof:
                self._inflate = _gunzip()  # RFC 1952: members may follow each other
            try:
                piece = self._inflate.decompress(rest, _PIECE)
            except zlib.error as exc:
                raise httpx.ReadError("The compressed answer is damaged.") from exc
            rest = self._inflate.unconsumed_tail or self._inflate.unused_data
            is_full = len(piece) == _PIECE and not self._inflate.eof
            if piece:
                yield self._counted(piece)

    def _counted(self, piece: bytes) -> bytes:
        self._bytes_left -= len(piece)
        if self._bytes_left < 0:
            raise self._too_long()
        return piece

    def _too_long(self) -> UnreadableResponse:
        return UnreadableResponse(f"an answer of more than {self._max_bytes} bytes")


def _gunzip() -> _Decompress:
    return zlib.decompressobj(16 + zlib.MAX_WBITS)
