"""Keep the contents of files out of litellm: it gets placeholders, which are filled when the request is sent.

So litellm translates a message of a few hundred bytes. A file is encoded once, and no str, log or exception holds
its content.
"""

from __future__ import annotations

import base64
import json
import re
import secrets
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx

from ..files.file import LLMFile
from ..files.media_types import IMAGE_TYPES

_PIECE = 64 * 1024


@dataclass(slots=True)
class Placeholders:
    """The placeholders of one request."""

    files: dict[str, LLMFile] = field(default_factory=dict)
    """By placeholder."""

    def part(self, file: LLMFile) -> dict[str, Any]:
        """The file as a part of a message, in litellm's form."""
        # Base64 without padding, and random: no text of the request can contain it by chance.
        placeholder = base64.b64encode(b"zango_ai:" + secrets.token_hex(12).encode()).decode()
        self.files[placeholder] = file
        if file.is_text:
            return {"type": "text", "text": f'File "{_clean(file.filename)}":\n\n{placeholder}\n\n'}
        content = f"data:{file.media_type};base64,{placeholder}"
        if file.media_type in IMAGE_TYPES:
            return {"type": "image_url", "image_url": {"url": content}}
        document = {"file_data": content, "filename": _clean(file.filename), "format": file.media_type}
        return {"type": "file", "file": document}

    def fill(self, request: httpx.Request) -> None:
        """Replace the placeholders in the request by the contents, unless that was done before."""
        if not self.files or isinstance(request.stream, _FilledBody):
            return
        body = request.content
        if not all(placeholder.encode() in body for placeholder in self.files):
            raise httpx.RequestError("A file is missing from the request.")
        body = json.dumps(self._completed(json.loads(body)), ensure_ascii=False).encode()
        request.stream = filled = _FilledBody(list(self._pieces(body)))
        request.headers["Content-Length"] = str(filled.length)

    def _pieces(self, body: bytes) -> Iterator[bytes]:
        pattern = re.compile(b"(" + b"|".join(re.escape(placeholder.encode()) for placeholder in self.files) + b")")
        for position, piece in enumerate(pattern.split(body)):
            if position % 2:
                yield from self.files[piece.decode()].encoded()
            else:
                yield piece

    def _completed(self, value: Any) -> Any:
        """The body with what litellm leaves out: names of documents, and URLs, which it would fetch itself."""
        if isinstance(value, list):
            return [self._completed(item) for item in value]
        if not isinstance(value, Mapping):
            return value
        source = value.get("source")
        if value.get("type") == "document" and isinstance(source, Mapping):
            file = self.files.get(source.get("data", ""))
            if file is not None:
                return {**self._with_url(value), "title": _clean(file.filename)[:500]}  # Anthropic's document
        if isinstance(value.get("document"), Mapping):
            return {**value, "document": self._named(value["document"])}
        return self._with_url(value)

    def _named(self, document: Mapping[str, Any]) -> Mapping[str, Any]:
        """Bedrock's document with the file's name, in the characters that Bedrock allows."""
        file = self.files.get(document.get("source", {}).get("bytes", ""))
        if file is None:
            return document
        stem = re.sub(r"[^A-Za-z0-9\s()\[\]-]+", "-", file.filename.rpartition(".")[0] or file.filename)
        # Bedrock requires that names differ within a request.
        position = list(self.files.values()).index(file) + 1
        return {**document, "name": f"{' '.join(stem.split())[:150]} ({position})"}

    def _with_url(self, value: Mapping[str, Any]) -> dict[str, Any]:
        file = self._by_url(value.get("data"))
        if file is not None and value.get("type") == "base64":
            return {"type": "url", "url": file.url}  # Anthropic's source
        for key in ("inline_data", "inlineData"):
            inline = value.get(key)
            file = self._by_url(inline.get("data")) if isinstance(inline, Mapping) else None
            if file is not None:
                return {"file_data": {"mime_type": file.media_type, "file_uri": file.url}}  # Gemini's part
        url = value.get("url")
        file = self._by_url(url.rpartition(",")[2]) if isinstance(url, str) else None
        if file is not None:
            return {**value, "url": file.url}  # OpenAI's image
        return {key: self._completed(item) for key, item in value.items()}

    def _by_url(self, placeholder: Any) -> LLMFile | None:
        file = self.files.get(placeholder) if isinstance(placeholder, str) else None
        return file if file is not None and file.url is not None else None


class _FilledBody(httpx.SyncByteStream, httpx.AsyncByteStream):
    """A request body that is sent in pieces and never joined."""

    def __init__(self, pieces: list[bytes]) -> None:
        self._pieces = pieces
        self.length = sum(map(len, pieces))

    def __iter__(self) -> Iterator[bytes]:
        for piece in self._pieces:
            for start in range(0, len(piece), _PIECE):
                yield piece[start : start + _PIECE]

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in self:
            yield piece


def _clean(filename: str) -> str:
    """The name without line breaks and control characters."""
    return "".join(char if char.isprintable() else " " for char in filename)
