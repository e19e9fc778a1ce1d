"""The rows of tool calls: written before a tool is called, and when the call is over.

A call has its ``uid`` beforehand, so a statement that is executed twice does nothing the second time. Each is a
sign of life of its run, too.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from ..database import writer
from ..database.writer import marks, names, params, remember, table
from ..models import Invocation, InvocationRound, RateLimitState, ToolCall
from . import clock, rate_limits, rounds

Status = ToolCall.Status


@dataclass(frozen=True, slots=True)
class Begun:
    is_allowed: bool
    wait_s: float = 0.0
    """After how many seconds the tool's limit a minute allows it."""


def write(schema: str, run_id: UUID, round_number: int, columns: Mapping[str, Any]) -> bool:
    """Write the row of a call of that round, or what has become of one; False where the call is over already."""
    values = {**columns, "updated_at": clock.now()}
    sql = f"WITH {_parts(schema, values)} SELECT count(*) FROM written"
    arguments = _arguments(run_id, round_number, values)
    ((count,),) = writer.execute(sql, arguments)
    remember(sql, arguments)
    return bool(count)


def write_many(
    schema: str, run_id: UUID, round_number: int, rows: Sequence[Mapping[str, Any]], end: Mapping[str, Any]
) -> None:
    """Write calls of that round that all have the same end, in one statement."""
    values = {**end, "updated_at": clock.now()}
    sql = f"""
WITH {_round_of(schema)}
INSERT INTO {table(schema, ToolCall)}
    (round_id, created_at, uid, position, call_id, tool_name, arguments, {names(values)})
SELECT mine.id, %(now)s, row.uid, row.position, row.call_id, row.tool_name, row.arguments::jsonb,
    {marks(values, "call")}
FROM mine, jsonb_to_recordset(%(rows)s::jsonb)
    AS row(uid uuid, position integer, call_id text, tool_name text, arguments text)
ON CONFLICT (uid) DO NOTHING
"""
    given = json.dumps([{**row, "uid": str(row["uid"])} for row in rows], ensure_ascii=False)
    arguments = {
        "run_id": run_id,
        "round_number": round_number,
        "now": values["updated_at"],
        "rows": given,
        **params(values, "call"),
    }
    writer.execute(sql, arguments)
    remember(sql, arguments)


def begin(
    schema: str, run_id: UUID, round_number: int, columns: Mapping[str, Any], per_minute: int | None
) -> Begun:
    """Write the row as ``running``, if the tool's limit a minute in this tenant allows another call.

    Not allowed without a wait: the call is over already.
    """
    columns = {**columns, "status": Status.RUNNING.value}
    if per_minute is None:
        return Begun(is_allowed=write(schema, run_id, round_number, columns))
    values = {**columns, "updated_at": clock.now()}
    sql = f"""
WITH {_allowance(schema)}, {_parts(schema, values, where="WHERE (SELECT wait_s FROM verdict) <= 0")}
SELECT verdict.wait_s, (SELECT count(*) FROM written) FROM verdict
"""
    arguments = {
        **_arguments(run_id, round_number, values),
        "key": f"tool:{columns['tool_name']}",
        "rate": per_minute,
        "toll": rate_limits.share_s(1, per_minute) if per_minute else 0.0,
        "tolerance": rounds.TOLERANCE_S,
    }
    if not per_minute:
        return Begun(is_allowed=False, wait_s=float("inf"))
    while not (found := writer.execute(sql, arguments)):
        rounds.open_paces(schema, [arguments["key"]], [per_minute], values["updated_at"])
    ((wait_s, count),) = found
    if count:
        remember(sql, arguments)
    return Begun(is_allowed=bool(count), wait_s=wait_s)


def end_undecided(schema: str, run_id: UUID) -> None:
    """Of a run that is over, no call waits any more."""
    sql = f"""
UPDATE {table(schema, ToolCall)} c
SET status = 'denied', error_message = 'The run has ended before this call was made.', updated_at = %(now)s
FROM {table(schema, InvocationRound)} r JOIN {table(schema, Invocation)} i ON i.id = r.invocation_id
WHERE c.round_id = r.id AND i.run_id = %(run_id)s AND c.status = 'awaiting_approval'
"""
    arguments = {"run_id": run_id, "now": clock.now()}
    writer.execute(sql, arguments)
    remember(sql, arguments)


def touch(schema: str, run_id: UUID) -> None:
    """A sign of life, while a tool takes its time."""
    sql = f"UPDATE {table(schema, Invocation)} SET updated_at = %(now)s WHERE run_id = %(run_id)s"
    writer.execute(sql, {"run_id": run_id, "now": clock.now()})


def _arguments(run_id: UUID, round_number: int, values: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "run_id": run_id,
        "round_number": round_number,
        "now": values["updated_at"],
        "uid": values["uid"],
        **params(values, "call"),
    }


def _parts(schema: str, values: Mapping[str, Any], where: str = "") -> str:
    """A call that is over is not changed any more."""
    changed = ", ".join(f'"{name}" = EXCLUDED."{name}"' for name in values if name != "uid")
    return f"""
{_round_of(schema)},
alive AS (
    UPDATE {table(schema, Invocation)} i SET updated_at = %(now)s FROM mine WHERE i.id = mine.invocation_id
),
written AS (
    INSERT INTO {table(schema, ToolCall)} AS c (round_id, created_at, {names(values)})
    SELECT mine.id, %(now)s, {marks(values, "call")} FROM mine {where}
    ON CONFLICT (uid) DO UPDATE SET {changed} WHERE c.status IN ('awaiting_approval', 'running')
    RETURNING c.id
)
"""


def _round_of(schema: str) -> str:
    return f"""
mine AS (
    SELECT r.id, r.invocation_id FROM {table(schema, Invocation)} i
    JOIN {table(schema, InvocationRound)} r ON r.invocation_id = i.id AND r.number = %(round_number)s
    WHERE i.run_id = %(run_id)s
)
"""


def _allowance(schema: str) -> str:
    """As ``rounds`` does it for providers. A call that has begun already has taken its share."""
    return f"""
pace AS (
    SELECT * FROM {table(schema, RateLimitState)} WHERE key = %(key)s FOR UPDATE
),
clock AS (
    SELECT clock_timestamp() AS at WHERE (SELECT count(*) FROM pace) >= 0
),
already AS (
    SELECT 1 FROM {table(schema, ToolCall)} WHERE uid = %(uid)s AND status = 'running'
),
due AS (
    SELECT pace.id, clock.at,
        CASE WHEN pace.arrival_at > clock.at THEN pace.busy_since ELSE clock.at END AS busy_since,
        clock.at + greatest(pace.arrival_at - clock.at, interval '0') * pace.per_minute / %(rate)s
            + make_interval(secs => %(toll)s) AS arrival_at
    FROM pace, clock
),
verdict AS (
    SELECT CASE
        WHEN EXISTS (SELECT 1 FROM already) THEN 0
        ELSE greatest(extract(epoch FROM arrival_at - at)::float8 - 60 - %(tolerance)s, 0)
    END AS wait_s
    FROM due
),
taken AS (
    UPDATE {table(schema, RateLimitState)} p
    SET arrival_at = due.arrival_at, busy_since = due.busy_since, per_minute = %(rate)s, updated_at = %(now)s
    FROM due, verdict WHERE p.id = due.id AND verdict.wait_s <= 0 AND NOT EXISTS (SELECT 1 FROM already)
)
"""
