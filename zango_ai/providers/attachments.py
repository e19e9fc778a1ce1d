"""Files in a request: what a model takes, and how the vendors' protocols carry it.

litellm is given a placeholder in place of a file's content, and translates a message of a few hundred bytes. The
content takes its place on the wire (``fill``), piece by piece: it is encoded once, and is in no str, no log and no
exception on the way.
"""

from __future__ import annotations

import base64
import json
import math
import re
import secrets
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx

from ..conf import get_conf
from ..exceptions import LLMFileError
from ..files.file import LLMFile
from ..files.media_types import IMAGE_TYPES, PDF
from ..types import ProviderSpec, Target
from . import addresses, prices
from .kinds import KINDS
from .token_estimate import estimate_text_tokens

_PIECE = 64 * 1024
_IMAGE_TOKENS = 3_000
_IMAGE_TOKENS_BY_MODEL = {"gpt-4o-mini": 48_169}
"""It counts a large image as eight tiles and its base, in tokens made to cost what gpt-4o's cost."""
_PAGE_TOKENS = 3_000
_PDF_BYTES_PER_PAGE = 50_000
_IF_IT_DOES = (
    "Choose a model that does. If this one does, say so in the provider's list of models, and list there what else "
    "it may use."
)
_PAGES = re.compile(rb"/Count\s+(\d{1,6})")
_PAGE = re.compile(rb"/Type\s*/Page\b(?!s)")


def require_taken(target: Target, files: Iterable[LLMFile]) -> None:
    """Raises LLMFileError for the first file that the target's model cannot take."""
    for file in files:
        problem = _problem(target.provider, target.model, file)
        if problem is not None:
            raise LLMFileError(
                file.filename,
                f"File {file.filename!r} ({file.media_type or 'of unknown type'}) cannot be sent to model "
                f"{target.model!r} of provider {target.provider.name!r}: {problem}",
            )


def _problem(provider: ProviderSpec, model: str, file: LLMFile) -> str | None:
    kind, is_url = KINDS[provider.kind], file.url is not None
    if file.url is not None:
        base, prefixes = kind.base_of(provider.credentials), get_conf().allowed_api_bases
        problem = addresses.problem_of_file(file.url, base, prefixes)
        if problem is not None:
            return problem
    if not file.media_type:
        return "its type is not known. Name it as what it is (report.pdf), or pass media_type."
    if file.is_text:
        return "text is not fetched from a URL. Pass its content." if is_url else None
    if file.media_type in IMAGE_TYPES:
        if prices.accepts(provider, model, "images") is False:
            return f"it takes no images. {_IF_IT_DOES}"
        if is_url and not kind.fetches_images:
            return f"{kind.label} fetches no images. Pass the content."
        return None
    if file.media_type not in kind.document_types:
        takes = ", ".join(("PNG, JPEG, GIF and WebP images", "text", *map(_called, kind.document_types)))
        return f"{kind.label} takes {takes}."
    if prices.accepts(provider, model, "documents") is False:
        return f"it takes no documents. {_IF_IT_DOES}"
    return (
        f"{kind.label} fetches no documents. Pass the content." if is_url and not kind.fetches_documents else None
    )


def _called(media_type: str) -> str:
    return "PDF" if media_type == PDF else media_type


def tokens_of(file: LLMFile, model: str) -> int:
    """How many tokens the file may be, roughly: nobody says beforehand. Pages that are packed away go by size."""
    if file.is_text and file.data is not None:
        return estimate_text_tokens(file.data)
    if file.media_type in IMAGE_TYPES:
        return _IMAGE_TOKENS_BY_MODEL.get(model.rpartition("/")[2], _IMAGE_TOKENS)
    data = file.data or b""
    pages = sum(1 for _ in _PAGE.finditer(data))
    counted = max((int(found[1]) for found in _PAGES.finditer(data)), default=0)
    return _PAGE_TOKENS * max(pages, min(counted, 5_000), math.ceil(len(data) / _PDF_BYTES_PER_PAGE), 1)


@dataclass(slots=True)
class Placeholders:
    """What stands in a request for the content of files, until it is sent."""

    files: dict[str, LLMFile] = field(default_factory=dict)

    def part(self, file: LLMFile) -> dict[str, Any]:
        """The file as a part of a message, in litellm's form."""
        # Base64 of a length that needs no padding; random, so that nothing that was asked can look like it.
        mark = base64.b64encode(b"zango_ai:" + secrets.token_hex(12).encode()).decode()
        self.files[mark] = file
        if file.is_text:
            return {"type": "text", "text": f'File "{_clean(file.filename)}":\n\n{mark}\n\n'}
        content = f"data:{file.media_type};base64,{mark}"
        if file.media_type in IMAGE_TYPES:
            return {"type": "image_url", "image_url": {"url": content}}
        named = {"file_data": content, "filename": _clean(file.filename), "format": file.media_type}
        return {"type": "file", "file": named}

    def fill(self, request: httpx.Request) -> None:
        """Put the contents into the request; nothing where that was done, or where there are none."""
        if not self.files or isinstance(request.stream, _Filled):
            return
        body = request.content
        if not all(mark.encode() in body for mark in self.files):
            raise httpx.RequestError("A file is missing from the request.")
        body = json.dumps(self._in_vendors_form(json.loads(body)), ensure_ascii=False).encode()
        request.stream = filled = _Filled(list(self._pieces(body)))
        request.headers["Content-Length"] = str(filled.length)

    def _pieces(self, body: bytes) -> Iterator[bytes]:
        marks = re.compile(b"(" + b"|".join(re.escape(mark.encode()) for mark in self.files) + b")")
        for position, piece in enumerate(marks.split(body)):
            if position % 2:
                yield from self.files[piece.decode()].encoded()
            else:
                yield piece

    def _in_vendors_form(self, value: Any) -> Any:
        """The body with what litellm leaves out: names of documents, and URLs, which it would fetch itself."""
        if isinstance(value, list):
            return [self._in_vendors_form(item) for item in value]
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
        """Bedrock's document under its own name, in the characters that are allowed in one."""
        file = self.files.get(document.get("source", {}).get("bytes", ""))
        if file is None:
            return document
        stem = re.sub(r"[^A-Za-z0-9\s()\[\]-]+", "-", file.filename.rpartition(".")[0] or file.filename)
        # Names must differ within a request.
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
        return {key: self._in_vendors_form(item) for key, item in value.items()}

    def _by_url(self, mark: Any) -> LLMFile | None:
        file = self.files.get(mark) if isinstance(mark, str) else None
        return file if file is not None and file.url is not None else None


class _Filled(httpx.SyncByteStream):
    """A body of several pieces, sent as they are."""

    def __init__(self, pieces: list[bytes]) -> None:
        self._pieces = pieces
        self.length = sum(map(len, pieces))

    def __iter__(self) -> Iterator[bytes]:
        for piece in self._pieces:
            for start in range(0, len(piece), _PIECE):
                yield piece[start : start + _PIECE]


def _clean(filename: str) -> str:
    """A name on one line, that every request can carry."""
    return "".join(char if char.isprintable() else " " for char in filename)
