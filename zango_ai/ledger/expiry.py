"""End the runs whose approval nobody has given in time. Part of maintenance."""

from __future__ import annotations

from django.db import Error

from ..database import writer
from ..database.writer import table
from ..models import Invocation, InvocationRound, ToolCall
from ..tools.approval_decisions import Verdict
from . import alerts, clock

ERROR_TYPE = "ApprovalExpired"
_RUN = "Nobody decided its tool calls before their approval expired, so the run has ended."
_CALL = "Nobody decided this call before its approval expired."


def end_expired_approvals(schema: str) -> int:
    """End the runs that wait for approvals of which none can be given any more; how many.

    A run that is resumed at the same moment is left alone. A run that cannot be ended does not stop the others: its
    error is raised after them.
    """
    ended = 0
    trouble: Error | None = None
    for (key,) in writer.execute(_expired(schema), {"now": clock.now()}):
        try:
            found = writer.execute(_ending(schema), {"id": key, **_arguments()})
        except Error as exc:
            trouble = exc
            continue
        for run_id, agent_name in found:
            ended += 1
            alerts.tell_finished(schema, run_id, key, agent_name, Invocation.Status.FAILED.value)
    if trouble is not None:
        raise trouble
    return ended


def _arguments() -> dict[str, object]:
    return {
        "now": clock.now(),
        "error_type": ERROR_TYPE,
        "run_message": _RUN,
        "call_message": _CALL,
        "verdict": Verdict.EXPIRED.value,
    }


def _is_expired(schema: str) -> str:
    return f"""
    i.status = 'awaiting_approval' AND NOT EXISTS (
        SELECT 1 FROM {table(schema, ToolCall)} c JOIN {table(schema, InvocationRound)} r ON r.id = c.round_id
        WHERE r.invocation_id = i.id AND c.status = 'awaiting_approval' AND c.expires_at > %(now)s
    )
"""


def _expired(schema: str) -> str:
    return f"SELECT i.id FROM {table(schema, Invocation)} i WHERE {_is_expired(schema)} ORDER BY i.id"


def _ending(schema: str) -> str:
    return f"""
WITH run AS (
    SELECT i.id FROM {table(schema, Invocation)} i
    WHERE i.id = %(id)s AND {_is_expired(schema)} FOR UPDATE OF i SKIP LOCKED
),
calls AS (
    UPDATE {table(schema, ToolCall)} c
    SET status = 'expired', error_message = %(call_message)s, decision = %(verdict)s, decided_at = %(now)s,
        updated_at = %(now)s
    FROM {table(schema, InvocationRound)} r, run
    WHERE r.invocation_id = run.id AND c.round_id = r.id AND c.status = 'awaiting_approval'
)
UPDATE {table(schema, Invocation)} i
SET status = 'failed', error_type = %(error_type)s, error_message = %(run_message)s, resume_state = '',
    finished_at = %(now)s, updated_at = %(now)s
FROM run WHERE i.id = run.id RETURNING i.run_id, i.agent_name
"""
