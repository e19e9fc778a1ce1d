"""Find a media type by a name, a header or the first bytes; and encode content for a request's JSON."""

from __future__ import annotations

import binascii
import codecs
import json
import mimetypes
import os
import re
from collections.abc import Iterator

from ..exceptions import LLMFileError

IMAGE_TYPES = ("image/png", "image/jpeg", "image/gif", "image/webp")
"""The image types that vendors accept."""
PDF = "application/pdf"
_TEXT_TYPES = {
    *("application/json", "application/x-ndjson", "application/jsonl", "application/xml", "application/yaml"),
    *("application/x-yaml", "application/csv", "application/sql", "application/toml"),
}
_SAME = {
    "image/jpg": "image/jpeg",
    "image/pjpeg": "image/jpeg",
    "image/x-png": "image/png",
    "application/x-pdf": PDF,
}
_OFFICE = "application/vnd.openxmlformats-officedocument"
_TYPES_BY_SUFFIX = {
    ".csv": "text/csv",
    ".doc": "application/msword",
    ".docx": f"{_OFFICE}.wordprocessingml.document",
    ".jsonl": "application/jsonl",
    ".log": "text/plain",
    ".md": "text/markdown",
    ".ndjson": "application/x-ndjson",
    ".toml": "application/toml",
    ".webp": "image/webp",
    ".xls": "application/vnd.ms-excel",
    ".xlsx": f"{_OFFICE}.spreadsheetml.sheet",
    ".yaml": "application/yaml",
    ".yml": "application/yaml",
}
"""Types that ``mimetypes`` does not know on every system."""
_SIGNATURES = {
    b"\x89PNG\r\n\x1a\n": "image/png",
    b"\xff\xd8\xff": "image/jpeg",
    b"GIF87a": "image/gif",
    b"GIF89a": "image/gif",
    b"%PDF-": PDF,
}
_MARKS = {
    codecs.BOM_UTF32_LE: "utf-32",  # begins as UTF-16's does
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
    codecs.BOM_UTF8: "utf-8-sig",
}
_PIECE = 256 * 1024
_CHARSET = re.compile(r"charset=\s*[\"']?([\w.:-]+)", re.IGNORECASE)


def is_text(media_type: str) -> bool:
    """Whether files of the type are sent as text."""
    if media_type.startswith("image/"):
        return False
    return media_type.startswith("text/") or media_type in _TEXT_TYPES or media_type.endswith(("+json", "+xml"))


def sniff(data: bytes) -> str | None:
    """The media type of an image or a PDF, by its first bytes; None for anything else."""
    for start, media_type in _SIGNATURES.items():
        if data.startswith(start):
            return media_type
    return "image/webp" if data[:4] == b"RIFF" and data[8:12] == b"WEBP" else None


def plain(media_type: object) -> str:
    """The media type without parameters, in lower case, by its usual name; "" if there is none."""
    plain = str(media_type or "").partition(";")[0].strip().lower()
    return _SAME.get(plain, plain)


def guess(filename: str) -> str:
    suffix = os.path.splitext(filename)[1].lower()
    guessed, packed = mimetypes.guess_type(filename)
    return _TYPES_BY_SUFFIX.get(suffix) or ("" if packed else guessed or "")


def charset_of(media_type: str) -> str:
    """Python's name of the charset in the media type; "" if it has none or Python does not know it."""
    found = _CHARSET.search(media_type)
    try:
        return codecs.lookup(found[1]).name if found else ""
    except (LookupError, ValueError):
        return ""


def require_charset(filename: str, charset: str) -> None:
    """Raises LLMFileError for a Python codec that does not decode text, for example zlib."""
    if not charset:
        return
    try:
        str(bytes(range(256)), charset, "replace")
        codecs.getincrementaldecoder(charset)("replace").decode(bytes(range(256)), True)
    except (LookupError, UnicodeError, AttributeError, TypeError):
        raise LLMFileError(
            filename,
            f"File {filename!r} has the charset {charset!r}, which is not a text encoding. Pass its real charset "
            "in media_type, for example 'text/plain; charset=utf-8'.",
        ) from None


def base64_pieces(data: bytes) -> Iterator[bytes]:
    for start in range(0, len(data), 3 * _PIECE):  # whole groups of three: no padding inside
        yield binascii.b2a_base64(data[start : start + 3 * _PIECE], newline=False)


def json_pieces(data: bytes, charset: str) -> Iterator[bytes]:
    """The text, escaped for a JSON string, in pieces. One str of it could need four times the memory."""
    decoder = codecs.getincrementaldecoder(_encoding_of(data, charset))("replace")
    for start in range(0, len(data), _PIECE):
        text = decoder.decode(data[start : start + _PIECE], start + _PIECE >= len(data))
        yield json.dumps(text, ensure_ascii=False)[1:-1].encode()


def require_text(filename: str, data: bytes) -> None:
    if b"\x00" in data and not data.startswith(tuple(_MARKS)):
        raise LLMFileError(
            filename, f"File {filename!r} has a text type but contains zero bytes, so it is not text."
        )


def _encoding_of(data: bytes, charset: str) -> str:
    for mark, encoding in _MARKS.items():
        if data.startswith(mark):
            return encoding
    if charset:
        return charset
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        for start in range(0, len(data), _PIECE):
            decoder.decode(data[start : start + _PIECE], start + _PIECE >= len(data))
    except UnicodeDecodeError:
        return "cp1252"  # what spreadsheets write in Western Europe; it takes nearly any byte
    return "utf-8"
