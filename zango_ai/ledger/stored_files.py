"""Store the files that were sent to agents: the same content only once per tenant."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any
from uuid import UUID

from django.core.files.base import ContentFile
from django.core.files.storage import Storage
from django.db import Error

from .. import redaction, sanitize
from ..database import writer
from ..database.sql import column_list, parameters, placeholders, table
from ..exceptions import is_time_limit
from ..files.file import LLMFile
from ..models import Invocation, InvocationFile
from . import clock

logger = logging.getLogger("zango_ai.files")

_Row = Mapping[str, Any]


class RunFiles:
    """The files of one run. Their rows are written with its rounds."""

    def __init__(self, schema: str, run_id: UUID) -> None:
        self._schema, self._run_id = schema, run_id
        self._unwritten: list[_Row] = []
        self._count = 0

    def attach(self, file: LLMFile) -> None:
        """Store the file's content. If the storage fails, that is logged, and the row has no ``file``."""
        self._count += 1
        self._unwritten.append({"position": self._count, **_columns(self._schema, file)})

    def write(self) -> None:
        """Write the rows that are not written yet. Raises the database's error."""
        if self._unwritten:
            _write(self._schema, self._run_id, self._unwritten, clock.now())
            self._unwritten = []

    def write_or_log(self) -> None:
        """Write the rows. After an error, they are written at the end of the run."""
        try:
            self.write()
        except Error:
            logger.exception("Could not write the files of run %s in %s", self._run_id, self._schema)


def _columns(schema: str, file: LLMFile) -> dict[str, Any]:
    is_url = file.url is not None
    return {
        "filename": redaction.text(file.filename),
        "media_type": sanitize.text(file.media_type, 200),
        "size_bytes": file.size,
        "sha256": file.sha256,
        "source": (InvocationFile.Source.URL if is_url else InvocationFile.Source.STORED).value,
        "url": sanitize.text(file.url or ""),
        "file": "" if is_url else _stored(schema, file),
    }


def _stored(schema: str, file: LLMFile) -> str:
    """The name of the content in the storage; "" if the storage fails."""
    storage = InvocationFile._meta.get_field("file").storage
    saved = ""
    try:
        earlier = _find_name(schema, file)
        if earlier and storage.exists(earlier):
            return earlier
        # No suffix: a web server that serves the file by mistake cannot render it.
        name = f"{schema}/zango_ai/{file.sha256[:2]}/{file.sha256}"
        saved = storage.save(name, ContentFile(file.data))
        if saved != name and _is_complete(storage, name, file):
            storage.delete(saved)  # another run was storing the same content
            return name
    except Exception as exc:
        if is_time_limit(exc):
            raise
        logger.exception("Could not store file %s of a run in %s", file.sha256, schema)
    return saved


def _find_name(schema: str, file: LLMFile) -> str | None:
    """The name under which the same content was stored before."""
    sql = f"SELECT file FROM {table(schema, InvocationFile)} WHERE sha256 = %(sha256)s AND file <> '' LIMIT 1"
    return next((name for (name,) in writer.query(sql, {"sha256": file.sha256})), None)


def content_of(schema: str, invocation_id: int, sha256: str) -> bytes | None:
    """The content of a file of that run; None if it is not in the storage."""
    sql = f"""
SELECT file FROM {table(schema, InvocationFile)}
WHERE invocation_id = %(id)s AND sha256 = %(sha256)s AND file <> '' LIMIT 1
"""
    storage = InvocationFile._meta.get_field("file").storage
    for (name,) in writer.query(sql, {"id": invocation_id, "sha256": sha256}):
        with suppress(OSError), storage.open(name) as stored:
            return bytes(stored.read())
    return None


def delete_content(schema: str, invocation_ids: Sequence[int]) -> int:
    """Delete the stored content of the files of these runs, unless another run has sent the same.

    Returns how many were deleted. Raises the storage's error; then the rows still name the content.
    """
    files = table(schema, InvocationFile)
    sql = f"""
SELECT DISTINCT f.file FROM {files} f
WHERE f.invocation_id = ANY(%(ids)s::bigint[]) AND f.file <> '' AND NOT EXISTS (
    SELECT 1 FROM {files} o
    WHERE o.sha256 = f.sha256 AND o.file = f.file AND NOT o.invocation_id = ANY(%(ids)s::bigint[])
)
"""
    storage = InvocationFile._meta.get_field("file").storage
    names = [name for (name,) in writer.query(sql, {"ids": list(invocation_ids)})]
    for name in names:
        storage.delete(name)
    return len(names)


def _is_complete(storage: Storage, name: str, file: LLMFile) -> bool:
    """Whether the whole content is stored within a second. The run that stores it may be slow, or may be killed."""
    for wait_s in (0.0, 0.05, 0.2, 0.75):
        time.sleep(wait_s)
        if storage.exists(name) and storage.size(name) == file.size:
            return True
    return False


def _write(schema: str, run_id: UUID, rows: Iterable[_Row], now: datetime) -> None:
    """Insert the rows; those that exist already stay as they are."""
    for row in rows:
        values = {**row, "created_at": now, "updated_at": now}
        sql = f"""
INSERT INTO {table(schema, InvocationFile)} (invocation_id, {column_list(values)})
SELECT i.id, {placeholders(values, "file")} FROM {table(schema, Invocation)} i WHERE i.run_id = %(key)s
ON CONFLICT (invocation_id, position) DO NOTHING
"""
        writer.execute(sql, {"key": run_id, **parameters(values, "file")})
