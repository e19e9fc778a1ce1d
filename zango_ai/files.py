"""Files that go along with a question.

A file is read when it is first needed, and once: making an ``LLMFile`` reads nothing and raises nothing, so that
whatever is wrong with it is raised by ``run()``, which writes it down.
"""

from __future__ import annotations

import binascii
import codecs
import hashlib
import json
import mimetypes
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any
from urllib.parse import unquote, urlsplit

from .exceptions import LLMFileError, is_time_limit

IMAGE_TYPES = ("image/png", "image/jpeg", "image/gif", "image/webp")
"""Those that vendors take."""
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
_TYPES_BY_SUFFIX = {".md": "text/markdown", ".csv": "text/csv", ".webp": "image/webp", ".yaml": "application/yaml"}
"""What ``mimetypes`` does not know everywhere."""
_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_PIECE = 256 * 1024
_LONGEST_URL = 8_000


class LLMFile:
    """A file to send along, made by one of its ``from_...`` methods. It may be used for several runs.

    Reading ``data``, ``size`` or ``sha256`` reads the file, and raises LLMFileError where that cannot be done.
    """

    __slots__ = (
        "_data",
        "_encoded",
        "_is_declared",
        "_lock",
        "_read",
        "_sha256",
        "_type",
        "filename",
        "has_name",
        "url",
    )

    def __init__(
        self,
        filename: str,
        media_type: str,
        *,
        read: Callable[[int | None], bytes] | None = None,
        url: str | None = None,
        is_declared: bool = False,
        has_name: bool = True,
    ) -> None:
        """Use one of the ``from_...`` methods. ``read`` is told how many bytes are enough to see it too large."""
        self.filename = filename
        """As it is called, without folders; also in errors and in the log. A URL's is the last part of its path."""
        self.has_name = has_name
        """Whether ``filename`` is more than a stand-in."""
        self.url = url
        """Where the provider fetches it; None where the content is sent."""
        self._type = _plain_type(media_type)
        self._is_declared = is_declared
        self._read = read
        self._data: bytes | None = None
        self._encoded: bytes | None = None
        self._sha256 = ""
        self._lock = threading.Lock()

    @classmethod
    def from_django_file(cls, file: Any) -> LLMFile:
        """A model's file field, on any storage, or an upload. It is read from the start, and left as it was."""
        filename = _base_name(getattr(file, "name", None) or "file")
        declared = str(getattr(file, "content_type", None) or "")
        is_vague = declared in {"", "application/octet-stream"}
        media_type = _guess(filename) if is_vague else declared
        return cls(filename, media_type, read=lambda most: _read_django(file, most))

    @classmethod
    def from_bytes(cls, data: bytes, media_type: str, filename: str | None = None) -> LLMFile:
        """Content in memory. ``media_type`` is held against it for images and PDF."""
        if not isinstance(data, (bytes, bytearray, memoryview)):
            raise TypeError(f"LLMFile.from_bytes() was given a {type(data).__name__}; pass bytes.")
        name = _base_name(filename) if filename else "file" + (mimetypes.guess_extension(media_type) or "")
        content = bytes(data)
        return cls(name, media_type, read=lambda most: content, is_declared=True, has_name=bool(filename))

    @classmethod
    def from_path(cls, path: str | os.PathLike[str]) -> LLMFile:
        """A file of this machine. Never pass a path that a user has typed."""
        name = _base_name(os.fspath(path))
        return cls(name, _guess(name), read=lambda most: _read_path(Path(path), most))

    @classmethod
    def from_url(cls, url: str, media_type: str | None = None) -> LLMFile:
        """A public file that the provider fetches by itself. Nothing here asks for it."""
        if not isinstance(url, str):
            raise TypeError(f"LLMFile.from_url() was given a {type(url).__name__}; pass the URL as a str.")
        path = urlsplit(url).path if _can_be_split(url) else ""
        name = _base_name(unquote(path))
        kind = media_type or _guess(name)
        return cls(name or "file", kind, url=url, is_declared=True, has_name=bool(name))

    def __repr__(self) -> str:
        return f"<LLMFile {self.filename!r} {self._type or 'of unknown type'}>"

    @property
    def media_type(self) -> str:
        """As declared, or guessed from the name; once an image or a PDF is read, as its content says."""
        return self._type

    @property
    def data(self) -> bytes | None:
        """The content; None for a URL."""
        self.load()
        return self._data

    @property
    def size(self) -> int | None:
        """In bytes; None for a URL."""
        self.load()
        return None if self._data is None else len(self._data)

    @property
    def sha256(self) -> str:
        """Of the content, in hexadecimal digits; "" for a URL."""
        self.load()
        return self._sha256

    @property
    def is_text(self) -> bool:
        """Whether it is sent as text, under its name."""
        if self._type.startswith("image/"):
            return False
        return self._type.startswith("text/") or self._type in _TEXT_TYPES or self._type.endswith(("+json", "+xml"))

    def load(self, max_bytes: int | None = None) -> None:
        """Read and check it, once. Raises LLMFileError."""
        if self.url is not None:
            _check_url(self)
            return
        with self._lock:
            if self._data is None:
                data = self._content(max_bytes)
                self._type = self._checked_type(data)
                if self.is_text:
                    _require_text(self.filename, data)
                self._sha256 = hashlib.sha256(data).hexdigest()
                self._data = data
        if max_bytes is not None and len(self._data) > max_bytes:
            raise _too_large(self.filename, max_bytes)

    def _content(self, max_bytes: int | None) -> bytes:
        assert self._read is not None
        try:
            data = self._read(None if max_bytes is None else max_bytes + 1)
        except LLMFileError:
            raise
        except Exception as exc:  # a storage may raise anything
            if is_time_limit(exc):
                raise
            raise LLMFileError(
                self.filename, f"File {self.filename!r} cannot be read ({type(exc).__name__}). Is it still there?"
            ) from exc
        if not isinstance(data, bytes):
            raise LLMFileError(self.filename, f"File {self.filename!r} was opened as text. Open it in binary mode.")
        if max_bytes is not None and len(data) > max_bytes:
            raise _too_large(self.filename, max_bytes)
        if not data:
            raise LLMFileError(self.filename, f"File {self.filename!r} is empty.")
        return data

    def _checked_type(self, data: bytes) -> str:
        """The media type, as an image's or a PDF's content says it where nobody has declared another."""
        real = sniff(data)
        if real == self._type:
            return self._type
        if self._type not in {*IMAGE_TYPES, PDF}:
            is_better = real is not None and not self.is_text and not (self._is_declared and self._type)
            return real if is_better and real else self._type
        if real is not None and not self._is_declared:
            return real
        fault = f"is {real}. Pass that as media_type." if real else "is not. Is it damaged, or misnamed?"
        raise LLMFileError(
            self.filename, f"File {self.filename!r} is said to be {self._type}, and its content {fault}"
        )

    def encoded(self) -> bytes:
        """The content as it stands inside a request's JSON: base64, or text with its quotes and breaks escaped.

        Made once, and kept for further requests.
        """
        self.load()
        with self._lock:
            if self._encoded is None:
                assert self._data is not None
                if self.is_text:
                    self._encoded = b"".join(_escaped(self._data))
                else:
                    self._encoded = binascii.b2a_base64(self._data, newline=False)
            return self._encoded


def sniff(data: bytes) -> str | None:
    """The media type of an image or a PDF, by its first bytes; None for anything else."""
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return "image/png"
    if data.startswith(b"\xff\xd8\xff"):
        return "image/jpeg"
    if data.startswith((b"GIF87a", b"GIF89a")):
        return "image/gif"
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "image/webp"
    # Readers look for it in the first kilobyte (ISO 32000-2, annex I).
    return PDF if b"%PDF-" in data[:1024] else None


def _escaped(data: bytes) -> Iterator[bytes]:
    """Text as it stands between the quotes of a JSON string, in pieces: one str of it may be four times as long."""
    decoder = codecs.getincrementaldecoder(_encoding_of(data))("replace")
    for start in range(0, len(data), _PIECE):
        text = decoder.decode(data[start : start + _PIECE], start + _PIECE >= len(data))
        yield json.dumps(text, ensure_ascii=False)[1:-1].encode()


def _require_text(filename: str, data: bytes) -> None:
    if b"\x00" in data and not data.startswith(_UTF16):
        raise LLMFileError(filename, f"File {filename!r} is said to be text, and is not: it holds zero bytes.")


def _encoding_of(data: bytes) -> str:
    if data.startswith(_UTF16):
        return "utf-16"
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        for start in range(0, len(data), _PIECE):
            decoder.decode(data[start : start + _PIECE], start + _PIECE >= len(data))
    except UnicodeDecodeError:
        return "cp1252"  # what spreadsheets write in Western Europe; it takes nearly any byte
    return "utf-8-sig"


def _read_django(file: Any, most: int | None) -> bytes:
    """From the start, leaving the file as it was: open or closed, and where it stood."""
    name, storage = getattr(file, "name", None), getattr(file, "storage", None)
    if file is None or (storage is not None and not name):
        raise LLMFileError("file", "The file field holds no file.")
    if storage is not None and getattr(file, "_committed", True):
        # A handle of its own: the field's own is the caller's.
        with storage.open(name, "rb") as handle:
            return _bytes_of(handle, most)
    before = file.tell()
    file.seek(0)
    try:
        return _bytes_of(file, most)
    finally:
        file.seek(before)


def _read_path(path: Path, most: int | None) -> bytes:
    with path.open("rb") as handle:
        return _bytes_of(handle, most)


def _bytes_of(handle: IO[bytes], most: int | None) -> bytes:
    return handle.read() if most is None else handle.read(most)


def _too_large(filename: str, max_bytes: int) -> LLMFileError:
    return LLMFileError(
        filename,
        f"File {filename!r} is larger than {max_bytes} bytes. Send a smaller one, or raise "
        "ZANGO_AI['MAX_FILE_BYTES'].",
    )


def _check_url(file: LLMFile) -> None:
    """Raises LLMFileError. The URL itself is not in the text: it may hold a secret."""
    url = file.url or ""
    if not _can_be_split(url):
        raise LLMFileError(file.filename, f"The URL of file {file.filename!r} is not one. Pass https://...")
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise LLMFileError(
            file.filename,
            f"The URL of file {file.filename!r} is of the scheme {parts.scheme!r}; a provider fetches http and "
            "https only. Pass the content instead: LLMFile.from_bytes(), from_path().",
        )
    if "@" in parts.netloc:
        raise LLMFileError(
            file.filename, f"The URL of file {file.filename!r} holds a user name or password. Leave them out."
        )
    if len(url) > _LONGEST_URL or not url.isprintable() or " " in url:
        raise LLMFileError(file.filename, f"The URL of file {file.filename!r} is too long, or not a URL.")


def _can_be_split(url: str) -> bool:
    try:
        _ = urlsplit(url).port
    except ValueError:
        return False
    return True


def _base_name(path: str) -> str:
    return path.replace("\\", "/").rstrip("/").rpartition("/")[2]


def _plain_type(media_type: str) -> str:
    """Without parameters, in lower case, by its usual name."""
    plain = media_type.partition(";")[0].strip().lower()
    return _SAME.get(plain, plain)


def _guess(filename: str) -> str:
    suffix = os.path.splitext(filename)[1].lower()
    return _TYPES_BY_SUFFIX.get(suffix) or mimetypes.guess_type(filename)[0] or ""
