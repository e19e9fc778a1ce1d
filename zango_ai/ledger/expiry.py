"""Maintenance: end the runs whose approvals have expired."""

from __future__ import annotations

from datetime import timedelta

from django.db import Error

from ..database import writer
from ..database.sql import table
from ..models import Invocation, InvocationRound, ToolCall
from ..tools.approval_decisions import Verdict
from . import clock, run_signals, time_zones
from .sql.tool_usage import ENDED_COLUMNS, count_calls
from .sql.usage import END_COLUMNS, end_runs

Status = Invocation.Status
CallStatus = ToolCall.Status

ERROR_TYPE = "ApprovalExpired"
_RUN_MESSAGE = "Nobody decided its tool calls before their approval expired, so the run has ended."
_CALL_MESSAGE = "Nobody decided this call before its approval expired."


def end_expired_approvals(schema: str) -> int:
    """End the runs that wait for approvals which have all expired, and return how many.

    A run that is being resumed is skipped. Raises the last error after it has tried all runs.
    """
    ended = 0
    error: Error | None = None
    for (invocation_id,) in writer.query(_find_expired(schema), {"now": clock.now()}):
        try:
            rows = writer.execute(_end_run(schema), {"id": invocation_id, **_arguments(schema)})
        except Error as exc:
            error = exc
            continue
        for run_id, agent_name in rows:
            ended += 1
            run_signals.send_ended(schema, run_id, invocation_id, agent_name, Status.FAILED)
    if error is not None:
        raise error
    return ended


def count_expired(schema: str, overdue: timedelta) -> int:
    """How many runs ``end_expired_approvals()`` should have ended at least ``overdue`` ago."""
    return len(writer.query(_find_expired(schema), {"now": clock.now() - overdue}))


def _arguments(schema: str) -> dict[str, object]:
    return {
        **time_zones.now_and_today(schema),
        "error_type": ERROR_TYPE,
        "run_message": _RUN_MESSAGE,
        "call_message": _CALL_MESSAGE,
        "verdict": Verdict.EXPIRED.value,
    }


def _is_expired(schema: str) -> str:
    return f"""
    i.status = '{Status.AWAITING_APPROVAL}' AND NOT EXISTS (
        SELECT 1 FROM {table(schema, ToolCall)} c JOIN {table(schema, InvocationRound)} r ON r.id = c.round_id
        WHERE r.invocation_id = i.id AND c.status = '{CallStatus.AWAITING_APPROVAL}' AND c.expires_at > %(now)s
    )
"""


def _find_expired(schema: str) -> str:
    return f"SELECT i.id FROM {table(schema, Invocation)} i WHERE {_is_expired(schema)} ORDER BY i.id"


def _end_run(schema: str) -> str:
    end = f"""
UPDATE {table(schema, Invocation)} i
SET status = '{Status.FAILED}', error_type = %(error_type)s, error_message = %(run_message)s, {END_COLUMNS}
FROM expired_run WHERE i.id = expired_run.id
"""
    return f"""
WITH expired_run AS (
    SELECT i.id FROM {table(schema, Invocation)} i
    WHERE i.id = %(id)s AND {_is_expired(schema)} FOR UPDATE OF i SKIP LOCKED
),
calls AS (
    UPDATE {table(schema, ToolCall)} c
    SET status = '{CallStatus.EXPIRED}', error_message = %(call_message)s, decision = %(verdict)s,
        decided_at = %(now)s, updated_at = %(now)s
    FROM {table(schema, InvocationRound)} r, expired_run
    WHERE r.invocation_id = expired_run.id AND c.round_id = r.id AND c.status = '{CallStatus.AWAITING_APPROVAL}'
    RETURNING {ENDED_COLUMNS}
),{count_calls(schema, "calls")},
{end_runs(schema, end)}
SELECT run_id, agent_name FROM run
"""
