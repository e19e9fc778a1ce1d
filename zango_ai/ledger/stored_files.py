"""Store the files that were sent to agents: the same content only once per tenant."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
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
        self._unwritten: list[tuple[LLMFile, _Row]] = []
        self._count = 0

    def attach(self, file: LLMFile) -> None:
        """Store the file's content. If the storage fails, that is logged, and the row has no ``file``."""
        self._count += 1
        self._unwritten.append((file, {"position": self._count, **_columns(self._schema, file)}))

    def write(self) -> None:
        """Write the rows that are not written yet. Raises the database's error."""
        for file, row in self._unwritten:
            _write(self._schema, self._run_id, row, clock.now())
            if row["file"]:
                _store_again_if_deleted(self._schema, self._run_id, row, file)
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
    saved = ""
    try:
        earlier = _find_name(schema, file)
        if earlier and _storage().exists(earlier):
            return earlier
        name = _name(schema, file)
        saved = _storage().save(name, ContentFile(file.data))
        if saved != name and _is_complete(name, file):
            _storage().delete(saved)  # another run was storing the same content
            return name
    except Exception as exc:
        _log(schema, file, exc)
    return saved


def _store_again_if_deleted(schema: str, run_id: UUID, row: _Row, file: LLMFile) -> None:
    """The content may have been deleted with the last other run that had it, until this run's row named it too."""
    try:
        if _storage().exists(row["file"]):
            return
        saved = _storage().save(_name(schema, file), ContentFile(file.data))
    except Exception as exc:
        _log(schema, file, exc)
        return
    if saved != row["file"]:
        sql = f"""
UPDATE {table(schema, InvocationFile)} f SET file = %(file)s FROM {table(schema, Invocation)} i
WHERE i.run_id = %(key)s AND f.invocation_id = i.id AND f.position = %(position)s
"""
        writer.execute(sql, {"key": run_id, "position": row["position"], "file": saved})


def _storage() -> Storage:
    return InvocationFile._meta.get_field("file").storage


def _name(schema: str, file: LLMFile) -> str:
    """No suffix: a web server that serves the file by mistake cannot render it."""
    return f"{schema}/zango_ai/{file.sha256[:2]}/{file.sha256}"


def _log(schema: str, file: LLMFile, exc: Exception) -> None:
    """Log a failure of the storage. A time limit is raised: the run has to end."""
    if is_time_limit(exc):
        raise exc
    logger.exception("Could not store file %s of a run in %s", file.sha256, schema)


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
    for (name,) in writer.query(sql, {"id": invocation_id, "sha256": sha256}):
        with suppress(OSError), _storage().open(name) as stored:
            return bytes(stored.read())
    return None


def delete_content(schema: str, invocation_ids: Sequence[int]) -> int:
    """Delete the stored content of the files of these runs, unless another run has sent the same.

    Returns how many were deleted. Raises the storage's error; then the rows still name the content.
    """
    files = table(schema, InvocationFile)
    own = f"""
SELECT DISTINCT sha256, file FROM {files} WHERE invocation_id = ANY(%(ids)s::bigint[]) AND file <> '' ORDER BY 1, 2
"""
    others = f"""
SELECT 1 FROM {files}
WHERE sha256 = %(sha256)s AND file = %(file)s AND NOT invocation_id = ANY(%(ids)s::bigint[]) LIMIT 1
"""
    count = 0
    for sha256, name in writer.query(own, {"ids": list(invocation_ids)}):
        with writer.transaction() as execute:
            execute(f"SELECT pg_advisory_xact_lock({_KEY})::text", {"lock": _lock_of(schema, sha256)})
            if not execute(others, {"ids": list(invocation_ids), "sha256": sha256, "file": name}):
                _storage().delete(name)
                count += 1
    return count


_KEY = "hashtextextended(%(lock)s, 0)"


def _lock_of(schema: str, sha256: str) -> str:
    """The lock that keeps a run from naming content while it is being deleted."""
    return f"zango_ai file {schema} {sha256}"


def _is_complete(name: str, file: LLMFile) -> bool:
    """Whether the whole content is stored within a second. The run that stores it may be slow, or may be killed."""
    for wait_s in (0.0, 0.05, 0.2, 0.75):
        time.sleep(wait_s)
        if _storage().exists(name) and _storage().size(name) == file.size:
            return True
    return False


def _write(schema: str, run_id: UUID, row: _Row, now: datetime) -> None:
    """Insert the row; one that exists already stays as it is."""
    values = {**row, "created_at": now, "updated_at": now}
    sql = f"""
WITH content AS MATERIALIZED (SELECT pg_advisory_xact_lock_shared({_KEY}))
INSERT INTO {table(schema, InvocationFile)} (invocation_id, {column_list(values)})
SELECT i.id, {placeholders(values, "file")} FROM {table(schema, Invocation)} i, content WHERE i.run_id = %(key)s
ON CONFLICT (invocation_id, position) DO NOTHING
"""
    lock = _lock_of(schema, row["sha256"])
    writer.execute(sql, {"key": run_id, "lock": lock, **parameters(values, "file")})
