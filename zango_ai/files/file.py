"""Files that are sent with a question.

Creating an ``LLMFile`` reads nothing. ``run()`` reads the file once, so that the log has a row for its errors.
"""

from __future__ import annotations

import hashlib
import mimetypes
import os
import threading
from collections.abc import Callable
from pathlib import Path
from types import NoneType
from typing import IO, Any
from urllib.parse import unquote, urlsplit

from .. import argument_checks
from ..exceptions import LLMFileError, is_time_limit
from . import media_types
from .media_types import IMAGE_TYPES, PDF

_LONGEST_URL = 8_000


class LLMFile:
    """A file to send with a run. Create it with one of its ``from_...`` methods. Several runs can use it.

    ``data``, ``size`` and ``sha256`` read the file. They raise LLMFileError if it cannot be read.
    """

    __slots__ = (
        *("filename", "has_name", "url"),
        *("_charset", "_data", "_encoded", "_is_declared", "_lock", "_read", "_sha256", "_type"),
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
        """Use one of the ``from_...`` methods. ``read`` gets the largest number of bytes to read."""
        self.filename = filename
        """The name without folders, for errors and the log. For a URL: the last part of its path."""
        self.has_name = has_name
        """Whether ``filename`` is the file's own name, and not a default."""
        self.url = url
        """The URL that the provider downloads; None if the content is sent."""
        self._type, self._charset = media_types.plain(media_type), media_types.charset_of(str(media_type or ""))
        self._is_declared = is_declared
        self._read = read
        self._data: bytes | None = None
        self._encoded: list[bytes] | None = None
        self._sha256 = ""
        self._lock = threading.Lock()

    @classmethod
    def from_django_file(cls, file: Any) -> LLMFile:
        """A model's file field on any storage, or an upload. Reading it keeps its position and open state."""
        # A file field that is empty is looked at later: its attributes raise.
        if file is not None and not (hasattr(type(file), "read") or hasattr(file, "read")):
            raise TypeError(
                f"file is {argument_checks.type_of(file)}; pass a model's file field or an upload, "
                "or use from_path() or from_bytes()."
            )
        name = _base_name(getattr(file, "name", None))
        declared, guessed = str(getattr(file, "content_type", None) or ""), media_types.guess(name)
        # Browsers on Windows call a CSV what its usual program calls its own files.
        is_vague = declared in {"", "application/octet-stream"} or guessed == "text/csv"
        media_type = guessed if is_vague else declared
        return cls(name or "file", media_type, read=lambda most: _read_django(file, most), has_name=bool(name))

    @classmethod
    def from_bytes(cls, data: bytes, media_type: str, filename: str | None = None) -> LLMFile:
        """Content in memory. For images and PDFs, it must match ``media_type``."""
        argument_checks.require(data, (bytes, bytearray, memoryview), "data", "bytes")
        argument_checks.require(media_type, (str, NoneType), "media_type", "it as a str, such as 'image/png'")
        argument_checks.require(filename, (str, NoneType), "filename", "it as a str")
        name, content = _base_name(filename), bytes(data)
        stand_in = "file" + (mimetypes.guess_extension(media_types.plain(media_type)) or "")
        return cls(name or stand_in, media_type, read=lambda most: content, is_declared=True, has_name=bool(name))

    @classmethod
    def from_path(
        cls, path: str | os.PathLike[str], *, media_type: str | None = None, filename: str | None = None
    ) -> LLMFile:
        """A file on this machine. Never pass a path that a user entered.

        Pass ``media_type`` and ``filename`` if the path does not show them.
        """
        argument_checks.require(path, (str, os.PathLike), "path", "it as a str or a Path")
        argument_checks.require(media_type, (str, NoneType), "media_type", "it as a str, such as 'image/png'")
        argument_checks.require(filename, (str, NoneType), "filename", "it as a str, such as 'report.pdf'")
        name = _base_name(os.fspath(path) if filename is None else filename)
        kind = media_type or media_types.guess(name)
        return cls(name, kind, read=lambda most: _read_path(Path(path), most), is_declared=bool(media_type))

    @classmethod
    def from_url(cls, url: str, media_type: str | None = None) -> LLMFile:
        """A public file that the provider downloads. This server never does."""
        argument_checks.require(url, str, "url", "the URL as a str")
        argument_checks.require(media_type, (str, NoneType), "media_type", "it as a str, such as 'image/png'")
        name = _base_name(unquote(urlsplit(url).path)) if _is_fetchable(url) else ""
        kind = media_type or media_types.guess(name)
        return cls(name or "file", kind, url=url, is_declared=True, has_name=bool(name))

    def __repr__(self) -> str:
        return f"<LLMFile {self.filename!r} {self._type or 'of unknown type'}>"

    @property
    def media_type(self) -> str:
        """The declared type, or the type by the file name. Once an image or PDF is read, its content decides."""
        return self._type

    @property
    def data(self) -> bytes | None:
        """The content; None for a URL."""
        self.load()
        return self._data

    @property
    def size(self) -> int | None:
        """The size in bytes; None for a URL."""
        self.load()
        return None if self._data is None else len(self._data)

    @property
    def sha256(self) -> str:
        """The SHA-256 of the content in hex; "" for a URL."""
        self.load()
        return self._sha256

    @property
    def is_text(self) -> bool:
        """Whether the file is sent as text, with its name."""
        return media_types.is_text(self._type)

    def load(self, max_bytes: int | None = None) -> None:
        """Read and check the file, once. Raises LLMFileError."""
        if self.url is not None:
            _check_url(self)
            return
        with self._lock:
            if self._data is None:
                data = self._content(max_bytes)
                self._type = self._checked_type(data)
                if self.is_text:
                    media_types.require_charset(self.filename, self._charset)
                    media_types.require_text(self.filename, data)
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
        if max_bytes is not None and len(data) > max_bytes:
            raise _too_large(self.filename, max_bytes)
        if not data:
            raise LLMFileError(self.filename, f"File {self.filename!r} is empty.")
        return data

    def _checked_type(self, data: bytes) -> str:
        """The media type. For images and PDFs, the content decides, unless another type was declared."""
        real = media_types.sniff(data)
        # Readers look for a PDF's header in the first kilobyte (ISO 32000-2, annex I).
        if real == self._type or (self._type == PDF and real is None and b"%PDF-" in data[:1024]):
            return self._type
        if real is not None and not (self._is_declared and self._type):
            return real
        if real is None and self._type not in {*IMAGE_TYPES, PDF}:
            return self._type
        fault = f"is {real}. Pass that as media_type." if real else "is not. Is it damaged or misnamed?"
        raise LLMFileError(
            self.filename, f"File {self.filename!r} has the type {self._type}, but its content {fault}"
        )

    def encoded(self) -> list[bytes]:
        """The content as it is written into a request's JSON, in pieces: base64, or escaped text.

        It is encoded once and kept for later requests.
        """
        self.load()
        with self._lock:
            if self._encoded is None:
                assert self._data is not None
                pieces = (
                    media_types.json_pieces(self._data, self._charset)
                    if self.is_text
                    else media_types.base64_pieces(self._data)
                )
                self._encoded = list(pieces)
            return self._encoded

    def __copy__(self) -> LLMFile:
        return self

    def __deepcopy__(self, memo: object) -> LLMFile:
        return self


def _read_django(file: Any, most: int | None) -> bytes:
    """Read the file from the start. Its position and open state stay the same."""
    name, storage = getattr(file, "name", None), getattr(file, "storage", None)
    if file is None or (storage is not None and not name):
        raise LLMFileError("file", "The file field is empty.")
    if storage is not None and getattr(file, "_committed", True):
        # A new handle, because the field's own handle belongs to the caller.
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


def _bytes_of(handle: IO[Any], most: int | None) -> bytes:
    pieces: list[bytes] = []
    left = most
    while left is None or left > 0:
        piece = handle.read() if left is None else handle.read(left)  # may return less than is left
        if not piece:
            break
        pieces.append(piece.encode() if isinstance(piece, str) else piece)
        left = None if left is None else left - len(pieces[-1])
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def _too_large(filename: str, max_bytes: int) -> LLMFileError:
    return LLMFileError(
        filename,
        f"File {filename!r} is larger than {max_bytes} bytes. Send a smaller file, or raise "
        "ZANGO_AI['MAX_FILE_BYTES'].",
    )


def _check_url(file: LLMFile) -> None:
    """Raises LLMFileError. The message does not contain the URL, because it may contain a secret."""
    url, named = file.url or "", f"The URL of file {file.filename!r}"
    if not _can_be_split(url):
        raise LLMFileError(file.filename, f"{named} is not a valid URL. Pass https://...")
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"}:
        raise LLMFileError(
            file.filename,
            f"{named} has the scheme {parts.scheme!r}. Providers download only http and https URLs. Pass the "
            "content with LLMFile.from_bytes() or from_path().",
        )
    if "@" in parts.netloc:
        raise LLMFileError(file.filename, f"{named} contains a user name or password. Remove them.")
    if not parts.hostname or len(url) > _LONGEST_URL or not url.isprintable() or " " in url:
        raise LLMFileError(file.filename, f"{named} is too long or not valid. Pass https://...")


def _is_fetchable(url: str) -> bool:
    return _can_be_split(url) and urlsplit(url).scheme in {"http", "https"} and bool(urlsplit(url).hostname)


def _can_be_split(url: str) -> bool:
    try:
        _ = urlsplit(url).port
    except ValueError:
        return False
    return True


def _base_name(path: object) -> str:
    """The last part of a POSIX or Windows path; "" if ``path`` is no path, for example a file descriptor."""
    if isinstance(path, bytes):
        path = os.fsdecode(path)
    return "" if not isinstance(path, str) else path.replace("\\", "/").rstrip("/").rpartition("/")[2]
