"""Maintenance: drop the texts of old runs, and delete old runs. What they have cost stays counted.

Each batch is one short statement, so runs in progress never wait for it. A maintenance that was interrupted goes on
where it stopped. A run in progress is kept, and so is a run on legal hold, its own or that of its conversation.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from ..database import writer
from ..database.sql import in_list, table
from ..models import Invocation, InvocationRound, MemorySession, Payload
from . import clock, removal

Status = Invocation.Status
_UNFINISHED = in_list([Status.QUEUED, Status.RUNNING, Status.AWAITING_APPROVAL])
_BATCH = 500


@dataclass(frozen=True, slots=True)
class Retention:
    """After how many days texts and rows go; None: never."""

    payload_days: int | None
    invocation_days: int | None


@dataclass(frozen=True, slots=True)
class Removed:
    """What maintenance has removed, or would remove."""

    texts: int = 0
    """Runs whose texts were removed."""
    runs: int = 0
    """Runs that were deleted."""
    held: int = 0
    """Runs that are old enough, and were kept because of a legal hold."""

    def __bool__(self) -> bool:
        return bool(self.texts or self.runs)


def apply(schema: str, retention: Retention) -> Removed:
    """Delete the runs and remove the texts that are old enough."""
    now = clock.now()
    deleted = texts = 0
    if retention.invocation_days is not None:
        before = now - timedelta(days=retention.invocation_days)
        deleted = _in_batches(schema, _is_due(schema), before, removal.delete_runs)
    if retention.payload_days is not None:
        before = now - timedelta(days=retention.payload_days)
        texts = _in_batches(schema, _has_due_texts(schema), before, removal.remove_texts)
    days = [each for each in (retention.payload_days, retention.invocation_days) if each is not None]
    if days:
        _delete_payloads(schema, now - timedelta(days=min(days)))
    return Removed(texts, deleted, _count_held(schema, retention, now))


def preview(schema: str, retention: Retention) -> Removed:
    """What ``apply()`` would remove now."""
    now = clock.now()
    deleted = texts = 0
    if retention.invocation_days is not None:
        deleted = _count(schema, _is_due(schema), now - timedelta(days=retention.invocation_days))
    if retention.payload_days is not None:
        texts = _count(schema, _has_due_texts(schema), now - timedelta(days=retention.payload_days))
        if retention.invocation_days is not None:  # those are deleted with their texts
            both = now - timedelta(days=max(retention.payload_days, retention.invocation_days))
            texts -= _count(schema, _has_due_texts(schema), both)
    return Removed(texts, deleted, _count_held(schema, retention, now))


def is_held(schema: str) -> str:
    """The condition that a run ``i`` is on legal hold, or its conversation is."""
    return f"""(i.is_on_hold OR EXISTS (
    SELECT 1 FROM {table(schema, MemorySession)} s
    WHERE s.agent_id = i.agent_id AND s.session_id = i.session_id AND s.is_on_hold
))"""


def is_finished() -> str:
    """The condition that a run ``i`` has ended."""
    return f"i.status NOT IN {_UNFINISHED}"


_IS_OLD = "(i.started_at < %(before)s OR (i.started_at IS NULL AND i.created_at < %(before)s))"
_HAS_TEXTS = "i.payload_removed_at IS NULL"


def _is_due(schema: str) -> str:
    return f"{_IS_OLD} AND {is_finished()} AND NOT {is_held(schema)}"


def _has_due_texts(schema: str) -> str:
    return f"{_HAS_TEXTS} AND {_is_due(schema)}"


def _in_batches(schema: str, condition: str, before: datetime, remove: Callable[[str, Sequence[int]], int]) -> int:
    """Remove batch by batch. A batch of which nothing can be removed, because it is in use, is the last."""
    sql = f"""
SELECT i.id FROM {table(schema, Invocation)} i WHERE {condition} ORDER BY i.started_at, i.id LIMIT {_BATCH}
"""
    total = 0
    while ids := [invocation_id for (invocation_id,) in writer.query(sql, {"before": before})]:
        count = remove(schema, ids)
        total += count
        if not count:
            break
    return total


def _count(schema: str, condition: str, before: datetime) -> int:
    sql = f"SELECT count(*) FROM {table(schema, Invocation)} i WHERE {condition}"
    ((count,),) = writer.query(sql, {"before": before})
    return int(count)


def _count_held(schema: str, retention: Retention, now: datetime) -> int:
    """The runs on hold that are old enough to be deleted, or to lose their texts."""
    counted = 0
    for days, texts in ((retention.payload_days, f"{_HAS_TEXTS} AND "), (retention.invocation_days, "")):
        if days is not None:
            condition = f"{texts}{_IS_OLD} AND {is_finished()} AND {is_held(schema)}"
            counted = max(counted, _count(schema, condition, now - timedelta(days=days)))
    return counted


def _delete_payloads(schema: str, before: datetime) -> None:
    """Delete the payloads that only runs from before that time have used, unless such a run has kept its texts."""
    payloads = table(schema, Payload)
    sql = f"""
WITH kept AS MATERIALIZED (
    SELECT DISTINCT {removal.digest("e.item")} AS digest
    FROM {table(schema, Invocation)} i
    JOIN {table(schema, InvocationRound)} r ON r.invocation_id = i.id
    CROSS JOIN LATERAL {removal.references("r")} AS e(item)
    WHERE {_HAS_TEXTS} AND i.started_at < %(before)s
),
old AS (
    SELECT p.digest FROM {payloads} p
    WHERE p.last_used_on < %(day)s AND NOT EXISTS (SELECT 1 FROM kept WHERE kept.digest = p.digest)
    LIMIT {_BATCH} FOR UPDATE OF p SKIP LOCKED
)
DELETE FROM {payloads} p USING old WHERE p.digest = old.digest RETURNING 1
"""
    while writer.execute(sql, {"before": before, "day": before.date()}):
        pass
