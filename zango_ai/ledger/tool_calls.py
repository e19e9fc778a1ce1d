"""The rows of tool calls: written before a tool is called, and again when the call has ended.

A call has its ``uid`` before it is written, so a statement that is executed twice changes nothing the second time.
Each statement also updates the run's row, so that maintenance does not abandon the run.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from ..database import writer
from ..database.sql import column_list, in_list, parameters, placeholders, table
from ..models import Invocation, InvocationRound, ToolCall
from . import clock, rate_limits
from .rate_limits import RateLimitShare
from .sql.rate_limits import HAS_ALL_LIMITS, charge_limits, check_limits
from .sql.tool_usage import ENDED_COLUMNS, count_calls

Status = ToolCall.Status

_UNLESS_CANCELLED = "WHERE NOT this_round.is_cancelled"
_IS_REPLAY = "EXISTS (SELECT 1 FROM this_round WHERE is_replay)"
"""The calls of a replay are answered from the log. They are no use of the tools."""
_NOT_MADE = "The run has ended before this call was made."


@dataclass(frozen=True, slots=True)
class ToolCallStart:
    """Whether a tool may be called now."""

    is_allowed: bool
    is_cancelled: bool = False
    """Whether somebody has cancelled the run. Then nothing was written."""
    wait_s: float = 0.0
    """The seconds until the tool's limit per minute allows the call; 0 if the call has ended already."""


def write(schema: str, run_id: UUID, round_number: int, columns: Mapping[str, Any]) -> bool:
    """Insert or update the row of one call of that round; False if the call has ended already."""
    return _write(schema, run_id, round_number, columns).is_allowed


def request_approval(schema: str, run_id: UUID, round_number: int, columns: Mapping[str, Any]) -> ToolCallStart:
    """Write the call's row as ``awaiting_approval``."""
    columns = {**columns, "status": Status.AWAITING_APPROVAL.value}
    return _write(schema, run_id, round_number, columns, where=_UNLESS_CANCELLED)


def _write(
    schema: str, run_id: UUID, round_number: int, columns: Mapping[str, Any], where: str = ""
) -> ToolCallStart:
    values = {**columns, "updated_at": clock.now()}
    has_ended = values["status"] not in ToolCall.UNFINISHED
    counted = f",{count_calls(schema, 'written', after='touched_run', unless=_IS_REPLAY)}" if has_ended else ""
    sql = f"""
WITH {_this_round(schema)}, {_write_call(schema, values, where)}{counted}
SELECT (SELECT count(*) FROM written), coalesce((SELECT is_cancelled FROM this_round), false)
"""
    ((count, is_cancelled),) = writer.execute(sql, _arguments(run_id, round_number, values))
    return ToolCallStart(is_allowed=bool(count), is_cancelled=is_cancelled)


def write_many(
    schema: str, run_id: UUID, round_number: int, rows: Sequence[Mapping[str, Any]], end: Mapping[str, Any]
) -> None:
    """Insert calls of that round that have all ended in the same way, in one statement."""
    values = {**end, "updated_at": clock.now()}
    sql = f"""
WITH {_this_round(schema)}, written AS (
    INSERT INTO {table(schema, ToolCall)} AS c
        (round_id, created_at, uid, position, call_id, tool_name, arguments, {column_list(values)})
    SELECT this_round.id, %(now)s, row.uid, row.position, row.call_id, row.tool_name, row.arguments::jsonb,
        {placeholders(values, "call")}
    FROM this_round, jsonb_to_recordset(%(rows)s::jsonb)
        AS row(uid uuid, position integer, call_id text, tool_name text, arguments text)
    ON CONFLICT (uid) DO NOTHING
    RETURNING {ENDED_COLUMNS}
),{count_calls(schema, "written", unless=_IS_REPLAY)}
SELECT 1
"""
    arguments = {
        "run_id": run_id,
        "round_number": round_number,
        "now": values["updated_at"],
        "rows": json.dumps([{**row, "uid": str(row["uid"])} for row in rows], ensure_ascii=False),
        **parameters(values, "call"),
    }
    writer.execute(sql, arguments)


def start(
    schema: str, run_id: UUID, round_number: int, columns: Mapping[str, Any], per_minute: int | None
) -> ToolCallStart:
    """Write the call's row as ``running``, if the tool's limit per minute in this tenant allows the call."""
    columns = {**columns, "status": Status.RUNNING.value}
    if per_minute is None:
        return _write(schema, run_id, round_number, columns, where=_UNLESS_CANCELLED)
    if per_minute == 0:
        return ToolCallStart(is_allowed=False, wait_s=float("inf"))
    key = f"tool:{columns['tool_name']}"
    share = RateLimitShare(key, "", per_minute, rate_limits.share_s(1, per_minute))
    values = {**columns, "updated_at": clock.now()}
    sql = _start_within_limit(schema, values)
    arguments = {**_arguments(run_id, round_number, values), **rate_limits.parameters([share])}

    def replay(rows: writer.Rows) -> writer.Statement | None:
        ((_, _, count, _),) = rows
        return (sql, arguments) if count else None

    while True:
        ((has_limit, wait_s, count, is_cancelled),) = writer.execute(sql, arguments, replay=replay)
        if has_limit:
            return ToolCallStart(is_allowed=bool(count), is_cancelled=is_cancelled, wait_s=wait_s)
        rate_limits.insert_missing(schema, [share])


def deny_undecided(schema: str, run_id: UUID) -> None:
    """Deny the calls of a run that has ended while they were waiting for approval."""
    sql = f"""
WITH denied AS (
    UPDATE {table(schema, ToolCall)} c
    SET status = '{Status.DENIED}', error_message = %(message)s, updated_at = %(now)s
    FROM {table(schema, InvocationRound)} r JOIN {table(schema, Invocation)} i ON i.id = r.invocation_id
    WHERE c.round_id = r.id AND i.run_id = %(run_id)s AND c.status = '{Status.AWAITING_APPROVAL}'
    RETURNING {ENDED_COLUMNS}
),{count_calls(schema, "denied")}
SELECT 1
"""
    writer.execute(sql, {"run_id": run_id, "message": _NOT_MADE, "now": clock.now()})


def touch(schema: str, run_id: UUID) -> None:
    """Keep maintenance from abandoning the run while a tool is working."""
    sql = f"UPDATE {table(schema, Invocation)} SET updated_at = %(now)s WHERE run_id = %(run_id)s"
    writer.execute(sql, {"run_id": run_id, "now": clock.now()})


def _arguments(run_id: UUID, round_number: int, values: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "run_id": run_id,
        "round_number": round_number,
        "now": values["updated_at"],
        "uid": values["uid"],
        **parameters(values, "call"),
    }


def _this_round(schema: str) -> str:
    return f"""
this_round AS (
    SELECT r.id, r.invocation_id, i.cancel_requested_at IS NOT NULL AS is_cancelled,
        i.replay_of_id IS NOT NULL AS is_replay
    FROM {table(schema, Invocation)} i
    JOIN {table(schema, InvocationRound)} r ON r.invocation_id = i.id AND r.number = %(round_number)s
    WHERE i.run_id = %(run_id)s
)
"""


def _write_call(schema: str, values: Mapping[str, Any], where: str = "") -> str:
    """Insert or update the call. A call that has ended is not changed."""
    updates = ", ".join(f'"{name}" = EXCLUDED."{name}"' for name in values if name != "uid")
    return f"""
touched_run AS (
    UPDATE {table(schema, Invocation)} i SET updated_at = %(now)s
    FROM this_round WHERE i.id = this_round.invocation_id RETURNING i.id
),
written AS (
    INSERT INTO {table(schema, ToolCall)} AS c (round_id, created_at, {column_list(values)})
    SELECT this_round.id, %(now)s, {placeholders(values, "call")} FROM this_round {where}
    ON CONFLICT (uid) DO UPDATE SET {updates} WHERE c.status IN {in_list(ToolCall.UNFINISHED)}
    RETURNING {ENDED_COLUMNS}
)
"""


def _start_within_limit(schema: str, values: Mapping[str, Any]) -> str:
    """Check the tool's limit, charge it, and write the call. A call that is running already has been charged."""
    where = f"{_UNLESS_CANCELLED} AND (SELECT has_limit AND wait_s = 0 FROM decision)"
    return f"""
WITH {_this_round(schema)},{check_limits(schema, after="this_round")}
running_call AS (
    SELECT 1 FROM {table(schema, ToolCall)} WHERE uid = %(uid)s AND status = '{Status.RUNNING}'
),
decision AS (
    SELECT {HAS_ALL_LIMITS} AS has_limit, CASE
        WHEN EXISTS (SELECT 1 FROM running_call) THEN 0
        ELSE coalesce((SELECT wait_s FROM exceeded_limit), 0)
    END AS wait_s
),
granted AS (
    SELECT 1 FROM decision, this_round
    {_UNLESS_CANCELLED} AND wait_s = 0 AND NOT EXISTS (SELECT 1 FROM running_call)
),{charge_limits(schema, granted="granted")}
{_write_call(schema, values, where)}
SELECT has_limit, wait_s, (SELECT count(*) FROM written), coalesce((SELECT is_cancelled FROM this_round), false)
FROM decision
"""
