"""The stored chunks of streamed background runs: write, read and delete them.

Each write notifies the readers in all processes (``database/notifications.py``).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

from .. import sanitize
from ..database import notifications, writer
from ..database.sql import in_list, table
from ..models import Invocation, StreamChunk
from ..types import LLMStreamChunk, LLMToolCall
from . import clock, maintenance

Status = Invocation.Status

_PAGE_SIZE = 200
_KEPT_AFTER_END = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Position:
    """Where the next chunk of a run is written."""

    last_number: int
    has_open_text: bool
    """Whether the last round has text and has not ended."""


@dataclass(frozen=True, slots=True)
class Page:
    """The state of a run, and its next chunks."""

    status: str
    last_number: int
    """Of all chunks so far; 0 if none are stored."""
    is_silent: bool
    """Whether the run is ``running``, but has shown no sign of life for longer than one step may take."""
    chunks: list[LLMStreamChunk]


def position(schema: str, run_id: UUID) -> Position:
    sql = f"""
SELECT coalesce(max(c.number), 0),
    coalesce(max(c.number) FILTER (WHERE c.type = 'text'), 0)
        > coalesce(max(c.number) FILTER (WHERE c.type IN {in_list(["round_end", "reset"])}), 0)
FROM {table(schema, StreamChunk)} c JOIN {table(schema, Invocation)} i ON i.id = c.invocation_id
WHERE i.run_id = %(run_id)s
"""
    ((last_number, has_open_text),) = writer.query(sql, {"run_id": run_id})
    return Position(last_number, has_open_text)


def write(schema: str, run_id: UUID, chunks: Sequence[LLMStreamChunk]) -> bool:
    """Store the chunks under their numbers, and wake the readers. A chunk that is stored already is not changed.

    Returns whether somebody has cancelled the run.
    """
    sql = f"""
WITH run AS (
    SELECT id, cancel_requested_at FROM {table(schema, Invocation)} WHERE run_id = %(run_id)s
),
written AS (
    INSERT INTO {table(schema, StreamChunk)} (invocation_id, number, type, text, tool_call, created_at, updated_at)
    SELECT run.id, c.number, c.type, c.text, c.tool_call, %(now)s, %(now)s
    FROM run, jsonb_to_recordset(%(chunks)s::jsonb) AS c(number integer, type text, text text, tool_call jsonb)
    ON CONFLICT (invocation_id, number) DO NOTHING
)
SELECT cancel_requested_at IS NOT NULL, pg_notify('{notifications.CHANNEL}', %(topic)s)::text FROM run
"""
    arguments = {
        "run_id": run_id,
        "chunks": json.dumps(list(map(_to_json, chunks)), ensure_ascii=False),
        "topic": notifications.topic(schema, run_id),
        "now": clock.now(),
    }
    return any(is_cancelled for is_cancelled, _ in writer.execute(sql, arguments))


def notify(schema: str, run_id: UUID) -> None:
    """Wake the readers: the run's status has changed."""
    sql = f"SELECT pg_notify('{notifications.CHANNEL}', %(topic)s)::text"
    writer.query(sql, {"topic": notifications.topic(schema, run_id)})


def _to_json(chunk: LLMStreamChunk) -> dict[str, Any]:
    call = None if chunk.tool_call is None else json.loads(sanitize.document(asdict(chunk.tool_call)))
    return {"number": chunk.number, "type": chunk.type, "text": sanitize.text(chunk.text), "tool_call": call}


def read(schema: str, run_id: UUID, after: int) -> Page | None:
    """The chunks with a higher number than ``after``, and the run's state at that moment. None: no such run."""
    chunks = table(schema, StreamChunk)
    sql = f"""
SELECT i.status,
    coalesce((SELECT max(number) FROM {chunks} WHERE invocation_id = i.id), 0),
    i.status = '{Status.RUNNING}' AND {maintenance.is_silent(schema)},
    c.number, c.type, c.text, c.tool_call::text
FROM {table(schema, Invocation)} i
LEFT JOIN LATERAL (
    SELECT * FROM {chunks} WHERE invocation_id = i.id AND number > %(after)s ORDER BY number LIMIT {_PAGE_SIZE}
) c ON true
WHERE i.run_id = %(run_id)s ORDER BY c.number
"""
    rows = writer.query(sql, {"run_id": run_id, "after": after, "now": clock.now()})
    if not rows:
        return None
    status, last_number, is_silent, *_ = rows[0]
    return Page(status, last_number, is_silent, [_from_columns(*row[3:]) for row in rows if row[3] is not None])


def _from_columns(number: int, type_: Any, text: str, tool_call: str | None) -> LLMStreamChunk:
    call = None if tool_call is None else LLMToolCall(**json.loads(tool_call))
    return LLMStreamChunk(type=type_, number=number, text=text, tool_call=call)


def delete_old(schema: str) -> int:
    """Delete the chunks of runs that have ended a day ago, and return how many."""
    sql = f"""
DELETE FROM {table(schema, StreamChunk)} c USING {table(schema, Invocation)} i
WHERE i.id = c.invocation_id AND i.finished_at < %(before)s RETURNING c.id
"""
    return len(writer.execute(sql, {"before": clock.now() - _KEPT_AFTER_END}))
