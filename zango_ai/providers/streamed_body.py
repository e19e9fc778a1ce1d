"""The body of a streamed response: decoded within bounds, piece by piece, as it arrives."""

from __future__ import annotations

import re
from collections.abc import Iterator

import httpx

from . import response_decoder
from .call_trace import CallTrace

_USAGE = re.compile(rb'"usage(?:Metadata)?"\s*:\s*\{\s*"')
"""A non-empty usage object in any vendor's events. In a model's text the quotes would be escaped."""
_ERROR = re.compile(rb'^data:\s*(\{(?:[^\n]*,)?\s*"error"\s*:\s*[{"][^\n]*)', re.MULTILINE)
"""An event with which a vendor reports an error in the middle of its answer."""
_OVERLAP = 64


class StreamedBody(httpx.SyncByteStream):
    """Reads a response body. Server-sent events arrive in whole lines, other bodies as they come."""

    def __init__(self, response: httpx.Response, trace: CallTrace, max_bytes: int) -> None:
        headers = response.headers
        encoding = headers.get("Content-Encoding", "")
        self._decoder = response_decoder.Decoder(encoding, max_bytes, response_decoder.MAX_PIECES)
        self._response, self._trace = response, trace
        self._is_lines = "eventstream" not in headers.get("Content-Type", "")

    def __iter__(self) -> Iterator[bytes]:
        with self._trace.noting_read_errors():
            yield from self._lines() if self._is_lines else self._pieces()

    def _pieces(self) -> Iterator[bytes]:
        tail = b""
        for data in self._response.iter_raw():
            for piece in self._decoder.decode(data):
                self._look_for_usage(tail + piece)
                tail = piece[-_OVERLAP:]
                yield piece
        self._decoder.finish()

    def _lines(self) -> Iterator[bytes]:
        """The body, cut only after line feeds, with the parts replaced that litellm cannot read."""
        begun: list[bytes] = []
        for piece in self._pieces():
            end = piece.rfind(b"\n") + 1
            if end:
                yield self._checked(b"".join([*begun, piece[:end]]))
                begun = []
            if piece[end:]:
                begun.append(piece[end:])
        if begun:
            yield self._checked(b"".join(begun))

    def _checked(self, lines: bytes) -> bytes:
        error = _ERROR.search(lines) if b'"error"' in lines else None
        if error is not None:
            self._trace.error_event = error[1]
        return self._trace.unreadable_arguments.replace(lines)

    def _look_for_usage(self, data: bytes) -> None:
        if not self._trace.has_usage and _USAGE.search(data):
            self._trace.has_usage = True

    def close(self) -> None:
        self._response.close()
