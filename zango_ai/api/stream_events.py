"""Server-sent events: the format of ``POST agents/<name>/stream/`` and ``GET runs/<run_id>/stream/``.

Each event has the chunk's number as its ``id`` and a JSON object with ``type`` as its ``data``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Protocol

from django.core.serializers.json import DjangoJSONEncoder

from ..types import LLMStreamChunk
from . import documents
from .errors import streamed_error

HEARTBEAT = b": heartbeat\n\n"
"""A comment, which clients ignore. It keeps proxies from closing a silent connection."""


class StreamFormat(Protocol):
    """How the chunks of one stream are written."""

    headers: Mapping[str, str]

    def begin(self) -> bytes:
        """Before the first chunk."""
        ...

    def chunk(self, chunk: LLMStreamChunk) -> bytes: ...

    def error(self, exc: Exception) -> bytes:
        """The run has failed after the stream has begun."""
        ...

    def end(self) -> bytes:
        """After the last chunk or the error."""
        ...


class ChunkEvents:
    """One event for each chunk. An error is the last event: ``{"type": "error", "error": {...}}``."""

    headers: Mapping[str, str] = {}

    def __init__(self, after: int = 0) -> None:
        """``after`` is the number of the last chunk that the client has seen."""
        self._last_number = after

    def begin(self) -> bytes:
        return b""

    def chunk(self, chunk: LLMStreamChunk) -> bytes:
        self._last_number = chunk.number
        return event(documents.chunk_document(chunk), chunk.number)

    def error(self, exc: Exception) -> bytes:
        document = {"type": "error", **streamed_error(exc).document()}
        return event(document, self._last_number + 1)

    def end(self) -> bytes:
        return b""


def event(data: Mapping[str, Any] | str, number: int | None = None) -> bytes:
    """One event. A string is sent as it is, anything else as JSON."""
    text = data if isinstance(data, str) else json.dumps(data, cls=DjangoJSONEncoder, separators=(",", ":"))
    number_line = "" if number is None else f"id: {number}\n"
    return f"{number_line}data: {text}\n\n".encode()
