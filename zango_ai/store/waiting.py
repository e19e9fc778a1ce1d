"""Runs that wait for a person's approval: what they go on with, and who makes them go on."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.utils import timezone

from ..exceptions import NotAwaitingApproval
from ..models import Invocation, InvocationRound, ToolCall
from ..types import LLMUsage
from . import writer
from .reconciliation import TOKENS
from .writer import remember, table


@dataclass(frozen=True, slots=True)
class Waiting:
    """A run that waits, as its rows tell of it."""

    run_id: UUID
    invocation_id: int
    agent_name: str
    triggered_by: str
    rounds_count: int
    latency_ms: int
    cost_usd: Decimal | None
    usage: LLMUsage
    goes_on_with: Mapping[str, Any]
    calls: list[dict[str, Any]]
    """All its tool calls so far, in order: rows of ``ToolCall`` with the ``number`` of their round."""

    @property
    def undecided(self) -> list[dict[str, Any]]:
        return [call for call in self.calls if call["status"] == ToolCall.Status.AWAITING_APPROVAL]


def find(schema: str, agent_name: str, run_id: UUID) -> Waiting:
    """Raises NotAwaitingApproval."""
    found = writer.execute(_finding(schema), {"run_id": run_id})
    if not found or found[0][1] != agent_name:
        raise not_awaiting(run_id, f"agent {agent_name!r} has no run of that id in schema {schema!r}")
    row = found[0]
    if row[2] != Invocation.Status.AWAITING_APPROVAL:
        raise not_awaiting(run_id, f"its status is {row[2]}")
    (invocation_id, _, _, trigger, rounds, latency, cost, goes_on_with, calls, *tokens) = row
    usage = LLMUsage(**dict(zip(TOKENS, tokens, strict=True)))
    state = (json.loads(goes_on_with), json.loads(calls))
    return Waiting(run_id, invocation_id, agent_name, trigger, rounds, latency or 0, cost, usage, *state)


def claim(schema: str, waiting: Waiting) -> None:
    """Have the run go on here, and nowhere else. Raises NotAwaitingApproval where somebody was faster."""
    token = secrets.token_hex(12)
    sql = f"""
UPDATE {table(schema, Invocation)}
SET status = 'running', waits_with = jsonb_build_object('claim', %(token)s::text), updated_at = %(now)s
WHERE run_id = %(run_id)s
    AND (status = 'awaiting_approval' OR (status = 'running' AND waits_with ->> 'claim' = %(token)s))
RETURNING id
"""
    arguments = {"run_id": waiting.run_id, "token": token, "now": timezone.now()}
    if not writer.execute(sql, arguments):
        raise not_awaiting(waiting.run_id, "it has just been decided")
    remember(sql, arguments)


def not_awaiting(run_id: object, reason: str) -> NotAwaitingApproval:
    return NotAwaitingApproval(run_id, f"Run {run_id} does not wait for an approval: {reason}.")


def has_expired(call: Mapping[str, Any]) -> bool:
    return datetime.fromisoformat(call["expires_at"]) <= timezone.now()


def _finding(schema: str) -> str:
    return f"""
SELECT i.id, i.agent_name, i.status, i.triggered_by, i.rounds_count, i.latency_ms, i.cost_usd,
    coalesce(i.waits_with, '{{}}')::text,
    (
        SELECT coalesce(json_agg(json_build_object(
            'number', r.number, 'position', c.position, 'uid', c.uid, 'call_id', c.call_id,
            'tool_name', c.tool_name, 'arguments', c.arguments, 'result', c.result, 'status', c.status,
            'expires_at', c.expires_at
        ) ORDER BY r.number, c.position), '[]')::text
        FROM {table(schema, ToolCall)} c JOIN {table(schema, InvocationRound)} r ON r.id = c.round_id
        WHERE r.invocation_id = i.id
    ),
    {", ".join(f"i.{name}" for name in TOKENS)}
FROM {table(schema, Invocation)} i WHERE i.run_id = %(run_id)s
"""
