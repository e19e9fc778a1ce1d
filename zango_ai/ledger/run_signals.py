"""Send the signals of a run. Without a receiver, each costs one look-up."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from uuid import UUID

from django.db import Error
from django.dispatch import Signal

from .. import signals, tenancy
from ..database import writer
from ..database.sql import column_list, table
from ..models import Invocation
from ..types import LLMUsage, PendingApproval
from .run_columns import TOKEN_COLUMNS, RunColumns, RunTotals

logger = logging.getLogger("zango_ai.ledger")

Status = Invocation.Status
_READ = ("triggered_by", "provider_name", "model", "error_type", "rounds_count", "cost_usd", "latency_ms")


def send_run_started(row: RunColumns) -> None:
    _send(signals.run_started, row, dict)


def send_round_finished(row: RunColumns, number: int, columns: Mapping[str, Any]) -> None:
    """``columns`` are those of the round's row."""
    _send(
        signals.round_finished,
        row,
        lambda: {
            "number": number,
            "status": columns["status"],
            "stop_reason": columns.get("stop_reason", ""),
            "error_type": columns.get("error_type", ""),
            "usage": LLMUsage(*(columns[name] for name in TOKEN_COLUMNS)),
            "cost_usd": columns["cost_usd"],
            "latency_ms": columns["latency_ms"],
            "time_to_first_token_ms": columns.get("time_to_first_token_ms"),
        },
    )


def send_tool_called(row: RunColumns, number: int, columns: Mapping[str, Any]) -> None:
    """``columns`` are those of the call's row."""
    _send(
        signals.tool_called,
        row,
        lambda: {
            "number": number,
            "tool_name": columns["tool_name"],
            "call_id": columns["call_id"],
            "status": columns["status"],
            "duration_ms": columns.get("duration_ms"),
        },
    )


def send_approval_requested(row: RunColumns, pending: Sequence[PendingApproval]) -> None:
    _send(
        signals.approval_requested,
        row,
        lambda: {
            "user_ref": row.user_ref,
            "tool_calls": tuple(
                {"id": each.id, "tool_name": each.tool_name, "expires_at": each.expires_at} for each in pending
            ),
        },
    )


def send_run_finished(row: RunColumns, status: Status, totals: RunTotals, latency_ms: int) -> None:
    _send(
        signals.run_finished,
        row,
        lambda: {
            "status": status.value,
            "error_type": row.known.get("error_type", ""),
            "rounds_count": totals.rounds_count,
            "usage": totals.usage,
            "cost_usd": totals.cost_usd,
            "latency_ms": latency_ms,
        },
    )


def send_ended(schema: str, run_id: UUID, invocation_id: int, agent_name: str, status: Status) -> None:
    """Send ``run_finished`` for a run that another process has executed, or none. Reads the rest from its row."""
    if not signals.run_finished.has_listeners(Invocation):
        return
    sql = f"""
SELECT {column_list((*_READ, *TOKEN_COLUMNS))} FROM {table(schema, Invocation)} WHERE id = %(id)s
"""
    try:
        ((*values, input_tokens, output_tokens, created, read),) = writer.query(sql, {"id": invocation_id})
    except Error:
        logger.exception("Could not send run_finished for run %s in %s", run_id, schema)
        return
    _dispatch(
        signals.run_finished,
        schema,
        run_id=run_id,
        invocation_id=invocation_id,
        agent_name=agent_name,
        status=status.value,
        usage=LLMUsage(input_tokens, output_tokens, created, read),
        **dict(zip(_READ, values, strict=True)),
    )


def _send(signal: Signal, row: RunColumns, news: Callable[[], dict[str, Any]]) -> None:
    """``news`` is only computed for receivers."""
    if not signal.has_listeners(Invocation):
        return
    known = {name: row.known.get(name, "") for name in ("agent_name", "triggered_by", "provider_name", "model")}
    _dispatch(signal, row.schema, run_id=row.run_id, invocation_id=row.invocation_id, **known, **news())


def _dispatch(signal: Signal, schema: str, **values: Any) -> None:
    """Django logs the exceptions of receivers. A tool may have switched the tenant."""
    with tenancy.active(schema):
        signal.send_robust(sender=Invocation, schema=schema, **values)
