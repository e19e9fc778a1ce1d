"""Find, claim and end stored runs, in any process.

A queued run, or one that waits for a person's approval, has its state in its row. The process that claims the run
resumes it from there.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from uuid import UUID

from ..database import writer
from ..database.sql import table
from ..exceptions import RunStateUnreadable
from ..models import Invocation, InvocationRound, ToolCall
from ..tools.approval_decisions import ApprovalDecision
from ..types import LLMUsage
from . import clock, run_signals, time_zones
from .run_columns import TOKEN_COLUMNS
from .run_state import RunState, StateUnreadable
from .sql.usage import END_COLUMNS, end_runs

Status = Invocation.Status
STOPPED = frozenset(Status) - {Status.QUEUED, Status.RUNNING}
"""The statuses of runs that have ended or wait for a person."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRow:
    """One run as its row and its tool calls describe it."""

    run_id: UUID
    invocation_id: int
    agent_id: int | None
    agent_name: str
    status: str
    claim: str
    triggered_by: str
    user_ref: str
    session_id: str | None
    replay_of_id: int | None
    """The primary key of the run that this one repeats."""
    rounds_count: int
    latency_ms: int
    time_to_first_token_ms: int | None
    """Since the run has started. None if no round was streamed."""
    cost_usd: Decimal | None
    usage: LLMUsage
    content: str
    output_schema: str
    stop_reason: str
    model: str
    """As the provider reports it; before that, as it was requested."""
    error_type: str
    error_message: str
    resume_state: Mapping[str, Any]
    """The stored state; ``state()`` reads it."""
    calls: list[dict[str, Any]]
    """All its tool calls so far, in order: rows of ``ToolCall`` with the ``number`` of their round."""

    def state(self) -> RunState:
        """The state to resume the run from. Raises RunStateUnreadable."""
        try:
            return RunState.from_json(self.resume_state)
        except StateUnreadable as exc:
            raise RunStateUnreadable(
                self.run_id,
                f"Run {self.run_id} cannot be resumed in this process: {exc}. The run keeps waiting. Resume it in "
                "a process of the release that stored it, or of a newer one.",
            ) from exc

    @property
    def undecided(self) -> list[dict[str, Any]]:
        """The tool calls that wait for approval."""
        return [call for call in self.calls if call["status"] == ToolCall.Status.AWAITING_APPROVAL]


def find(schema: str, run_id: UUID) -> RunRow | None:
    rows = writer.query(_find_sql(schema), {"run_id": run_id})
    if not rows:
        return None
    columns = dict(zip(_COLUMNS, rows[0], strict=False))
    *_, first_token_ms, resume_state, calls, tokens = rows[0]
    usage = LLMUsage(**dict(zip(TOKEN_COLUMNS, tokens, strict=True)))
    state = {"usage": usage, "resume_state": json.loads(resume_state), "calls": json.loads(calls)}
    state["time_to_first_token_ms"] = first_token_ms
    for call, (arguments, result) in zip(state["calls"], state["resume_state"].get("calls", ()), strict=False):
        call["arguments"], call["result"] = arguments, result  # as they were before they were redacted
    return RunRow(run_id=run_id, **columns, **state)


def status_of(schema: str, run_id: UUID) -> str | None:
    """None if there is no such run."""
    sql = f"SELECT status FROM {table(schema, Invocation)} WHERE run_id = %(run_id)s"
    return next((str(status) for (status,) in writer.query(sql, {"run_id": run_id})), None)


def has_started(schema: str, run_id: UUID) -> bool:
    """Whether a worker has started the run at least once."""
    sql = f"SELECT started_at IS NOT NULL FROM {table(schema, Invocation)} WHERE run_id = %(run_id)s"
    return any(has_started for (has_started,) in writer.query(sql, {"run_id": run_id}))


def claim(schema: str, run: RunRow, *, celery_task_id: str = "") -> bool:
    """Take the run for this process; False if another process has claimed it since ``run`` was read."""
    sql = f"""
UPDATE {table(schema, Invocation)}
SET status = '{Status.RUNNING}', claim = %(claim)s, updated_at = %(now)s, error_type = '', error_message = '',
    celery_task_id = coalesce(nullif(%(task)s, ''), celery_task_id),
    started_at = coalesce(started_at, %(now)s), finished_at = NULL
WHERE run_id = %(run_id)s AND (
    (status = %(last_status)s AND claim = %(last_claim)s) OR (status = '{Status.RUNNING}' AND claim = %(claim)s)
)
RETURNING id
"""
    arguments = {
        "run_id": run.run_id,
        "last_status": run.status,
        "last_claim": run.claim,
        "claim": secrets.token_hex(12),
        "task": celery_task_id,
        "now": clock.now(),
    }
    return bool(writer.execute(sql, arguments))


def queue_decided(schema: str, run: RunRow, state: RunState) -> bool:
    """Queue a run that waits, with the decisions of ``state``; False if it was decided since ``run`` was read."""
    sql = f"""
WITH run AS (
    UPDATE {table(schema, Invocation)}
    SET status = '{Status.QUEUED}', resume_state = %(state)s, claim = %(claim)s, updated_at = %(now)s
    WHERE run_id = %(run_id)s AND (
        (status = %(last_status)s AND claim = %(last_claim)s) OR (status = '{Status.QUEUED}' AND claim = %(claim)s)
    )
    RETURNING id
),
calls AS (
    UPDATE {table(schema, ToolCall)} c
    SET decision = decided.decision, decided_by = decided.decided_by, decided_at = decided.decided_at,
        approved_arguments = decided.approved_arguments::jsonb, updated_at = %(now)s
    FROM run, jsonb_to_recordset(%(calls)s::jsonb) AS decided(
        uid uuid, decision text, decided_by text, decided_at timestamptz, approved_arguments text
    )
    WHERE c.uid = decided.uid
)
SELECT id FROM run
"""
    arguments = {
        "run_id": run.run_id,
        "last_status": run.status,
        "last_claim": run.claim,
        "claim": secrets.token_hex(12),
        "state": json.dumps(state.to_json()),
        "calls": json.dumps([_decision_row(uid, each) for uid, each in state.decisions.items()]),
        "now": clock.now(),
    }
    return bool(writer.execute(sql, arguments))


def _decision_row(uid: str, decision: ApprovalDecision) -> dict[str, Any]:
    return {**decision.columns, "uid": uid, "decided_at": decision.decided_at.isoformat()}


def await_approval_again(schema: str, run_id: UUID) -> int | None:
    """Undo ``queue_decided()``: the decisions are forgotten. The run's primary key; None if it is not queued."""
    sql = f"""
WITH run AS (
    UPDATE {table(schema, Invocation)} SET status = '{Status.AWAITING_APPROVAL}', updated_at = %(now)s
    WHERE run_id = %(run_id)s AND status = '{Status.QUEUED}' RETURNING id
),
calls AS (
    UPDATE {table(schema, ToolCall)} c
    SET decision = '', decided_by = '', decided_at = NULL, approved_arguments = NULL, updated_at = %(now)s
    FROM run, {table(schema, InvocationRound)} r
    WHERE r.invocation_id = run.id AND c.round_id = r.id AND c.status = '{ToolCall.Status.AWAITING_APPROVAL}'
)
SELECT id FROM run
"""
    rows = writer.execute(sql, {"run_id": run_id, "now": clock.now()})
    return next((int(key) for (key,) in rows), None)


def note_sent(schema: str, run_id: UUID, celery_task_id: str) -> bool:
    """Write that the broker has the task of a queued run; False if the run is not queued any more."""
    sql = f"""
UPDATE {table(schema, Invocation)} SET celery_task_id = %(task)s, updated_at = %(now)s
WHERE run_id = %(run_id)s AND (status = '{Status.QUEUED}' OR celery_task_id = %(task)s) RETURNING id
"""
    return bool(writer.execute(sql, {"run_id": run_id, "task": celery_task_id, "now": clock.now()}))


def fail_queued(schema: str, run_id: UUID, *, error_type: str, message: str) -> int | None:
    """Fail a queued run that no worker will execute. Its primary key; None if the run is not queued."""
    end = f"""
UPDATE {table(schema, Invocation)} i
SET status = '{Status.FAILED}', error_type = %(type)s, error_message = %(message)s, {END_COLUMNS}
WHERE run_id = %(run_id)s AND status = '{Status.QUEUED}'
"""
    sql = f"WITH {end_runs(schema, end)} SELECT id, agent_name FROM run"
    arguments = {"run_id": run_id, "type": error_type, "message": message, **time_zones.now_and_today(schema)}
    for invocation_id, agent_name in writer.execute(sql, arguments):
        run_signals.send_ended(schema, run_id, invocation_id, agent_name, Status.FAILED)
        return int(invocation_id)
    return None


_COLUMNS = {
    "invocation_id": "i.id",
    "agent_id": "i.agent_id",
    "agent_name": "i.agent_name",
    "status": "i.status",
    "claim": "i.claim",
    "triggered_by": "i.triggered_by",
    "user_ref": "i.user_ref",
    "session_id": "i.session_id",
    "replay_of_id": "i.replay_of_id",
    "rounds_count": "i.rounds_count",
    "latency_ms": "coalesce(i.latency_ms, 0)",
    "cost_usd": "i.cost_usd",
    "content": "i.response_content",
    "output_schema": "i.output_schema",
    "stop_reason": "i.stop_reason",
    "model": "coalesce(nullif(i.response_model, ''), i.model)",
    "error_type": "i.error_type",
    "error_message": "i.error_message",
}


def _find_sql(schema: str) -> str:
    return f"""
SELECT {", ".join(_COLUMNS.values())},
    (
        SELECT r.time_to_first_token_ms + greatest(0, round(extract(epoch FROM r.created_at - i.started_at) * 1000))
        FROM {table(schema, InvocationRound)} r
        WHERE r.invocation_id = i.id AND r.time_to_first_token_ms IS NOT NULL ORDER BY r.number LIMIT 1
    )::bigint,
    coalesce(nullif(i.resume_state, ''), '{{}}'),
    (
        SELECT coalesce(json_agg(json_build_object(
            'number', r.number, 'position', c.position, 'uid', c.uid, 'call_id', c.call_id,
            'tool_name', c.tool_name,
            'arguments', coalesce(c.approved_arguments, c.arguments), 'result', c.result, 'status', c.status,
            'expires_at', c.expires_at, 'description', c.description
        ) ORDER BY r.number, c.position), '[]')::text
        FROM {table(schema, ToolCall)} c JOIN {table(schema, InvocationRound)} r ON r.id = c.round_id
        WHERE r.invocation_id = i.id
    ),
    ARRAY[{", ".join(f"i.{name}" for name in TOKEN_COLUMNS)}]
FROM {table(schema, Invocation)} i WHERE i.run_id = %(run_id)s
"""
