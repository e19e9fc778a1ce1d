"""Keep the files that agents were sent: the same content once in each tenant."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from django.core.files.base import ContentFile
from django.core.files.storage import Storage

from .. import recordable
from ..exceptions import is_time_limit
from ..files import LLMFile
from ..models import Invocation, InvocationFile
from . import writer
from .writer import table

logger = logging.getLogger("zango_ai.files")

_Row = Mapping[str, Any]


def keep(schema: str, files: Iterable[LLMFile]) -> list[_Row]:
    """Store the contents; the columns of the files' rows. A storage that fails is logged, and its file is empty."""
    return [{"position": position, **_columns(schema, file)} for position, file in enumerate(files, start=1)]


def _columns(schema: str, file: LLMFile) -> dict[str, Any]:
    is_url = file.url is not None
    return {
        "filename": recordable.text(file.filename),
        "media_type": recordable.text(file.media_type, 200),
        "size_bytes": file.size,
        "sha256": file.sha256,
        "source": (InvocationFile.Source.URL if is_url else InvocationFile.Source.STORED).value,
        "url": recordable.text(file.url or ""),
        "file": "" if is_url else _stored(schema, file),
    }


def _stored(schema: str, file: LLMFile) -> str:
    """The name in the storage; "" where it fails."""
    storage = InvocationFile._meta.get_field("file").storage
    # Without a suffix: a web server that hands it out by mistake has no type to render it as.
    name = f"{schema}/zango_ai/{file.sha256[:2]}/{file.sha256}"
    try:
        if storage.exists(name):
            if _is_whole(storage, name, file):
                return name
            storage.delete(name)  # a process was killed while it stored it
        saved: str = storage.save(name, ContentFile(file.data))
        if saved != name and _is_whole(storage, name, file):
            storage.delete(saved)  # another run has stored the same meanwhile
            return name
        return saved
    except Exception as exc:
        if is_time_limit(exc):
            raise
        logger.exception("File %s of a run in %s could not be stored", file.sha256, schema)
        return ""


def _is_whole(storage: Storage, name: str, file: LLMFile) -> bool:
    """Whether all of it is there, in a moment: another run may be at it."""
    for wait_s in (0.0, 0.05, 0.2, 0.75):
        time.sleep(wait_s)
        if storage.size(name) == file.size:
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
