"""Keep the files that agents were sent: the same content once in each tenant."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from datetime import datetime
from typing import Any
from uuid import UUID

from django.core.files.base import ContentFile
from django.core.files.storage import Storage

from .. import sanitize
from ..database import writer
from ..database.writer import table
from ..exceptions import is_time_limit
from ..files.file import LLMFile
from ..models import Invocation, InvocationFile

logger = logging.getLogger("zango_ai.files.file")

_Row = Mapping[str, Any]


def keep(schema: str, file: LLMFile, *, position: int) -> _Row:
    """Store the content; the columns of the file's row. A storage that fails is logged, and ``file`` is empty."""
    return {"position": position, **_columns(schema, file)}


def _columns(schema: str, file: LLMFile) -> dict[str, Any]:
    is_url = file.url is not None
    return {
        "filename": sanitize.text(file.filename),
        "media_type": sanitize.text(file.media_type, 200),
        "size_bytes": file.size,
        "sha256": file.sha256,
        "source": (InvocationFile.Source.URL if is_url else InvocationFile.Source.STORED).value,
        "url": sanitize.text(file.url or ""),
        "file": "" if is_url else _stored(schema, file),
    }


def _stored(schema: str, file: LLMFile) -> str:
    """The name in the storage; "" where it fails."""
    storage = InvocationFile._meta.get_field("file").storage
    saved = ""
    try:
        known = _known(schema, file)
        if known and storage.exists(known):
            return known
        # Without a suffix: a web server that hands it out by mistake has no type to render it as.
        name = f"{schema}/zango_ai/{file.sha256[:2]}/{file.sha256}"
        saved = storage.save(name, ContentFile(file.data))
        if saved != name and _is_whole(storage, name, file):
            storage.delete(saved)  # another run has stored the same at the same time
            return name
    except Exception as exc:
        if is_time_limit(exc):
            raise
        logger.exception("File %s of a run in %s could not be stored", file.sha256, schema)
    return saved


def _known(schema: str, file: LLMFile) -> str | None:
    """Where the same content was stored before."""
    sql = f"SELECT file FROM {table(schema, InvocationFile)} WHERE sha256 = %(sha256)s AND file <> '' LIMIT 1"
    return next((name for (name,) in writer.execute(sql, {"sha256": file.sha256})), None)


def content_of(schema: str, invocation_id: int, sha256: str) -> bytes | None:
    """The content of a file that went along with that run; None where it is not kept."""
    sql = f"""
SELECT file FROM {table(schema, InvocationFile)}
WHERE invocation_id = %(id)s AND sha256 = %(sha256)s AND file <> '' LIMIT 1
"""
    storage = InvocationFile._meta.get_field("file").storage
    for (name,) in writer.execute(sql, {"id": invocation_id, "sha256": sha256}):
        with suppress(OSError), storage.open(name) as stored:
            return bytes(stored.read())
    return None


def _is_whole(storage: Storage, name: str, file: LLMFile) -> bool:
    """Whether all of it is there, in a moment: another run may be at it, or have been killed in the middle."""
    for wait_s in (0.0, 0.05, 0.2, 0.75):
        time.sleep(wait_s)
        if storage.exists(name) and storage.size(name) == file.size:
            return True
    return False


def write(schema: str, key: UUID, rows: Iterable[_Row], now: datetime) -> None:
    """Write the rows of the run with the ``run_id`` ``key``; those that are there already stay."""
    for row in rows:
        values = {**row, "created_at": now, "updated_at": now}
        sql = f"""
INSERT INTO {table(schema, InvocationFile)} (invocation_id, {writer.names(values)})
SELECT i.id, {writer.marks(values, "file")} FROM {table(schema, Invocation)} i WHERE i.run_id = %(key)s
ON CONFLICT (invocation_id, position) DO NOTHING
"""
        arguments = {"key": key, **writer.params(values, "file")}
        writer.execute(sql, arguments)
        writer.remember(sql, arguments)
