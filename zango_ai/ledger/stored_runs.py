"""Runs as their rows tell of them, in any process: those that are over, and those that are to go on.

A run goes on that is queued, or for whose tool calls a person's approval is awaited. What it goes on with is in its
row; it does so for whoever claims it, and for nobody else.
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
from ..database.writer import remember, table
from ..exceptions import RunStateUnreadable
from ..models import Invocation, InvocationRound, ToolCall
from ..types import LLMUsage
from . import alerts, clock
from .reconciliation import TOKENS
from .run_state import RunState, StateUnreadable

Status = Invocation.Status
OVER = frozenset(Status) - {Status.QUEUED, Status.RUNNING}
"""Statuses in which nothing more happens by itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRow:
    run_id: UUID
    invocation_id: int
    agent_id: int | None
    agent_name: str
    status: str
    claim: str
    triggered_by: str
    session_id: str | None
    rounds_count: int
    latency_ms: int
    cost_usd: Decimal | None
    usage: LLMUsage
    content: str
    output_schema: str
    stop_reason: str
    model: str
    """As the provider reported it; else as it was asked for."""
    error_type: str
    error_message: str
    resume_state: Mapping[str, Any]
    """The stored state; ``state()`` reads it."""
    calls: list[dict[str, Any]]
    """All its tool calls so far, in order: rows of ``ToolCall`` with the ``number`` of their round."""

    def state(self) -> RunState:
        """Where the run goes on from. Raises RunStateUnreadable."""
        try:
            return RunState.from_json(self.resume_state)
        except StateUnreadable as exc:
            raise RunStateUnreadable(
                self.run_id,
                f"Run {self.run_id} cannot go on in this process: {exc}. It keeps waiting. Go on with it in a "
                "process of the release that stored it, or of a newer one.",
            ) from exc

    @property
    def undecided(self) -> list[dict[str, Any]]:
        return [call for call in self.calls if call["status"] == ToolCall.Status.AWAITING_APPROVAL]


def find(schema: str, run_id: UUID) -> RunRow | None:
    found = writer.execute(_finding(schema), {"run_id": run_id})
    if not found:
        return None
    columns = dict(zip(_COLUMNS, found[0], strict=False))
    *_, resume_state, calls, tokens = found[0]
    usage = LLMUsage(**dict(zip(TOKENS, tokens, strict=True)))
    state = {"usage": usage, "resume_state": json.loads(resume_state), "calls": json.loads(calls)}
    return RunRow(run_id=run_id, **columns, **state)


def status_of(schema: str, run_id: UUID) -> str | None:
    """None where there is no such run."""
    sql = f"SELECT status FROM {table(schema, Invocation)} WHERE run_id = %(run_id)s"
    return next((str(status) for (status,) in writer.execute(sql, {"run_id": run_id})), None)


def has_begun(schema: str, run_id: UUID) -> bool:
    """Whether a worker has taken the run at least once."""
    sql = f"SELECT started_at IS NOT NULL FROM {table(schema, Invocation)} WHERE run_id = %(run_id)s"
    return any(begun for (begun,) in writer.execute(sql, {"run_id": run_id}))


def claim(schema: str, run: RunRow, *, celery_task_id: str = "") -> bool:
    """Have the run go on here, from where it was found; False where somebody was faster."""
    sql = f"""
UPDATE {table(schema, Invocation)}
SET status = 'running', claim = %(claim)s, updated_at = %(now)s, error_type = '', error_message = '',
    celery_task_id = coalesce(nullif(%(task)s, ''), celery_task_id),
    started_at = coalesce(started_at, %(now)s)
WHERE run_id = %(run_id)s
    AND ((status = %(status)s AND claim = %(seen)s) OR (status = 'running' AND claim = %(claim)s))
RETURNING id
"""
    arguments = {
        "run_id": run.run_id,
        "status": run.status,
        "seen": run.claim,
        "claim": secrets.token_hex(12),
        "task": celery_task_id,
        "now": clock.now(),
    }
    is_claimed = bool(writer.execute(sql, arguments))
    if is_claimed:
        remember(sql, arguments)
    return is_claimed


def note_sent(schema: str, run_id: UUID, celery_task_id: str) -> bool:
    """The broker has the task of a queued run; False where nobody will execute that any more."""
    sql = f"""
UPDATE {table(schema, Invocation)} SET celery_task_id = %(task)s, updated_at = %(now)s
WHERE run_id = %(run_id)s AND (status = 'queued' OR celery_task_id = %(task)s) RETURNING id
"""
    arguments = {"run_id": run_id, "task": celery_task_id, "now": clock.now()}
    found = writer.execute(sql, arguments)
    remember(sql, arguments)
    return bool(found)


def give_up(schema: str, run_id: UUID, *, error_type: str, words: str) -> int | None:
    """A queued run that nobody will execute has failed; its primary key, None where it is not queued."""
    sql = f"""
UPDATE {table(schema, Invocation)}
SET status = 'failed', error_type = %(type)s, error_message = %(message)s, resume_state = '',
    finished_at = %(now)s, updated_at = %(now)s
WHERE run_id = %(run_id)s AND status = 'queued' RETURNING id, agent_name
"""
    arguments = {"run_id": run_id, "type": error_type, "message": words, "now": clock.now()}
    found = writer.execute(sql, arguments)
    remember(sql, arguments)
    for invocation_id, agent_name in found:
        alerts.tell_finished(schema, run_id, invocation_id, agent_name, Status.FAILED.value)
        return int(invocation_id)
    return None


_COLUMNS = {
    "invocation_id": "i.id",
    "agent_id": "i.agent_id",
    "agent_name": "i.agent_name",
    "status": "i.status",
    "claim": "i.claim",
    "triggered_by": "i.triggered_by",
    "session_id": "i.session_id",
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


def _finding(schema: str) -> str:
    return f"""
SELECT {", ".join(_COLUMNS.values())},
    coalesce(nullif(i.resume_state, ''), '{{}}'),
    (
        SELECT coalesce(json_agg(json_build_object(
            'number', r.number, 'position', c.position, 'uid', c.uid, 'call_id', c.call_id,
            'tool_name', c.tool_name, 'arguments', c.arguments, 'result', c.result, 'status', c.status,
            'expires_at', c.expires_at
        ) ORDER BY r.number, c.position), '[]')::text
        FROM {table(schema, ToolCall)} c JOIN {table(schema, InvocationRound)} r ON r.id = c.round_id
        WHERE r.invocation_id = i.id
    ),
    ARRAY[{", ".join(f"i.{name}" for name in TOKENS)}]
FROM {table(schema, Invocation)} i WHERE i.run_id = %(run_id)s
"""
