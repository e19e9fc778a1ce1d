"""Store the files that were sent to agents: the same content only once per tenant.

The row of a file is written first, with the content's SHA-256, and gets its ``file`` once the content is stored. If
the process is killed between the two, ``delete_content()`` finds the content by the SHA-256.
"""

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
    """The files of one run, whose row is written."""

    def __init__(self, schema: str, run_id: UUID) -> None:
        self._schema, self._run_id = schema, run_id
        self._unwritten: list[tuple[LLMFile, _Row]] = []
        self._count = 0

    def attach(self, file: LLMFile) -> None:
        """Write the file's row, and store its content. Errors are logged.

        If the storage fails, the row has no ``file``. If the database fails, both are repeated later in the run.
        """
        self._count += 1
        self._unwritten.append((file, {"position": self._count, **_columns(file)}))
        self.write_or_log()

    def write(self) -> None:
        """Write the rows that are not written yet, and store their content. Raises the database's error."""
        while self._unwritten:
            file, row = self._unwritten.pop(0)
            try:
                _insert(self._schema, self._run_id, row, clock.now())
                if file.url is None:
                    _store(self._schema, self._run_id, row, file)
            except Error:
                self._unwritten.insert(0, (file, row))
                raise

    def write_or_log(self) -> None:
        """The same. After an error, the rest is written later in the run."""
        try:
            self.write()
        except Error:
            logger.exception("Could not write the files of run %s in %s", self._run_id, self._schema)


def _columns(file: LLMFile) -> dict[str, Any]:
    is_url = file.url is not None
    return {
        "filename": redaction.text(file.filename),
        "media_type": sanitize.text(file.media_type, 200),
        "size_bytes": file.size,
        "sha256": file.sha256,
        "source": (InvocationFile.Source.URL if is_url else InvocationFile.Source.STORED).value,
        "url": sanitize.text(file.url or ""),
    }


def _store(schema: str, run_id: UUID, row: _Row, file: LLMFile) -> None:
    """Store the content, and write its name.

    Until the row has the name, the content may be deleted with another run that had it. Then it is stored again.
    """
    name = _stored(schema, file)
    if not name:
        return
    is_found = _write_name(schema, run_id, row, name)
    try:
        if not is_found:  # storing has taken so long that the run was ended, and its texts were removed
            _delete_unused(schema, file.sha256, [name], ())
        elif not _storage().exists(name):
            _write_name(schema, run_id, row, "")  # as at first, should this process be killed before it has a name
            saved = _storage().save(_name(schema, file.sha256), ContentFile(file.data))
            _write_name(schema, run_id, row, saved)
    except Error:
        raise
    except Exception as exc:
        _log(schema, file, exc)


def _stored(schema: str, file: LLMFile) -> str:
    """The name of the content in the storage; "" if the storage fails."""
    saved, earlier = "", _find_name(schema, file)
    try:
        if earlier and _storage().exists(earlier):
            return earlier
        name = _name(schema, file.sha256)
        saved = _storage().save(name, ContentFile(file.data))
        if saved != name and _is_complete(name, file):
            _storage().delete(saved)  # another run was storing the same content
            return name
    except Exception as exc:
        _log(schema, file, exc)
    return saved


def _storage() -> Storage:
    return InvocationFile._meta.get_field("file").storage


def _name(schema: str, sha256: str) -> str:
    """No suffix: a web server that serves the file by mistake cannot render it."""
    return f"{schema}/zango_ai/{sha256[:2]}/{sha256}"


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
    sql = f"""
SELECT sha256, array_agg(DISTINCT file) FROM {table(schema, InvocationFile)}
WHERE invocation_id = ANY(%(ids)s::bigint[]) AND sha256 <> '' GROUP BY sha256 ORDER BY sha256
"""
    rows = writer.query(sql, {"ids": list(invocation_ids)})
    return sum(_delete_unused(schema, sha256, names, invocation_ids) for sha256, names in rows)


def _delete_unused(schema: str, sha256: str, names: Iterable[str], invocation_ids: Sequence[int]) -> int:
    """Delete this content under those names that no other run has.

    A row without a name may have been left by a process that was killed while it stored the content. Only then is
    the storage asked for its names: to list a folder takes long. A run that is storing the same content now stores
    it again.
    """
    sql = f"""
SELECT DISTINCT file FROM {table(schema, InvocationFile)}
WHERE sha256 = %(sha256)s AND NOT invocation_id = ANY(%(ids)s::bigint[])
"""
    with writer.transaction() as execute:
        execute(f"SELECT pg_advisory_xact_lock({_KEY})::text", {"lock": _lock_of(schema, sha256)})
        used = {name for (name,) in execute(sql, {"ids": list(invocation_ids), "sha256": sha256})}
        unused = set(names) - used - {""}
        if "" in names:
            unused |= _names_in_storage(schema, sha256) - used
        for name in sorted(unused):
            _storage().delete(name)
    return len(unused)


def _names_in_storage(schema: str, sha256: str) -> set[str]:
    """The names under which the content is stored. Storages add a suffix to a name that exists."""
    folder, _slash, start = _name(schema, sha256).rpartition("/")
    try:
        _folders, found = _storage().listdir(folder)
    except (FileNotFoundError, NotImplementedError):  # there is no such folder, or the storage cannot list
        found = [start] if _storage().exists(f"{folder}/{start}") else []
    return {f"{folder}/{name}" for name in found if name.startswith(start)}


_KEY = "hashtextextended(%(lock)s, 0)"
_LOCKED = f"content AS MATERIALIZED (SELECT pg_advisory_xact_lock_shared({_KEY}))"


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


def _insert(schema: str, run_id: UUID, row: _Row, now: datetime) -> None:
    """Insert the row without the name of its content; one that exists already stays as it is."""
    values = {**row, "created_at": now, "updated_at": now}
    sql = f"""
WITH {_LOCKED}
INSERT INTO {table(schema, InvocationFile)} (invocation_id, {column_list(values)})
SELECT i.id, {placeholders(values, "file")} FROM {table(schema, Invocation)} i, content WHERE i.run_id = %(key)s
ON CONFLICT (invocation_id, position) DO NOTHING
"""
    lock = _lock_of(schema, row["sha256"])
    writer.execute(sql, {"key": run_id, "lock": lock, **parameters(values, "file")})


def _write_name(schema: str, run_id: UUID, row: _Row, name: str) -> bool:
    """Return False if there is no such row any more."""
    sql = f"""
WITH {_LOCKED}
UPDATE {table(schema, InvocationFile)} f SET file = %(file)s FROM {table(schema, Invocation)} i, content
WHERE i.run_id = %(key)s AND f.invocation_id = i.id AND f.position = %(position)s RETURNING f.id
"""
    lock = _lock_of(schema, row["sha256"])
    return bool(writer.execute(sql, {"key": run_id, "lock": lock, "position": row["position"], "file": name}))
