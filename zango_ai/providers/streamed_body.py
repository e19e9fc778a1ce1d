"""The body of a streamed response: decoded within bounds, piece by piece, as it arrives."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterator

import httpx

from . import response_decoder
from .call_trace import CallTrace

_USAGE = re.compile(rb'"usage(?:Metadata)?"\s*:\s*\{\s*"')
"""A non-empty usage object in any vendor's events. In a model's text the quotes would be escaped."""
_ERROR = re.compile(rb'^data:\s*(\{(?:[^\n]*,)?\s*"error"\s*:\s*[{"][^\n]*)', re.MULTILINE)
"""An event with which a vendor reports an error in the middle of its answer."""
_OVERLAP = 64


class _Reader:
    """Decodes and checks a body. Server-sent events are passed on in whole lines, other bodies as they come."""

    def __init__(self, response: httpx.Response, trace: CallTrace, max_bytes: int) -> None:
        headers = response.headers
        encoding = headers.get("Content-Encoding", "")
        self._decoder = response_decoder.Decoder(encoding, max_bytes, response_decoder.MAX_PIECES)
        self._response, self._trace = response, trace
        self._is_lines = "eventstream" not in headers.get("Content-Type", "")
        self._tail = b""
        self._begun: list[bytes] = []
        """The beginning of a line."""

    def _read(self, data: bytes) -> Iterator[bytes]:
        """What can be passed on after ``data`` has arrived."""
        for piece in self._decoder.decode(data):
            self._look_for_usage(self._tail + piece)
            self._tail = piece[-_OVERLAP:]
            if self._is_lines:
                yield from self._lines(piece)
            else:
                yield piece

    def _end(self) -> Iterator[bytes]:
        self._decoder.finish()
        if self._begun:
            yield self._checked(b"".join(self._begun))

    def _lines(self, piece: bytes) -> Iterator[bytes]:
        """The body, cut only after line feeds, with the parts replaced that litellm cannot read."""
        end = piece.rfind(b"\n") + 1
        if end:
            lines = b"".join([*self._begun, piece[:end]])
            self._begun = []
            yield self._checked(lines)
        if piece[end:]:
            self._begun.append(piece[end:])

    def _checked(self, lines: bytes) -> bytes:
        error = _ERROR.search(lines) if b'"error"' in lines else None
        if error is not None:
            self._trace.error_event = error[1]
        return self._trace.unreadable_arguments.replace(lines)

    def _look_for_usage(self, data: bytes) -> None:
        if not self._trace.has_usage and _USAGE.search(data):
            self._trace.has_usage = True


class StreamedBody(_Reader, httpx.SyncByteStream):
    """The body of a response of the sync client."""

    def __iter__(self) -> Iterator[bytes]:
        with self._trace.noting_read_errors():
            for data in self._response.iter_raw():
                yield from self._read(data)
            yield from self._end()

    def close(self) -> None:
        self._response.close()


class AsyncStreamedBody(_Reader, httpx.AsyncByteStream):
    """The body of a response of the async client."""

    async def __aiter__(self) -> AsyncIterator[bytes]:
        with self._trace.noting_read_errors():
            async for data in self._response.aiter_raw():
                for piece in self._read(data):
                    yield piece
            for piece in self._end():
                yield piece

    async def aclose(self) -> None:
        await self._response.aclose()
