"""The response of a run that has ended, as its row has it."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from ..exceptions import RunCancelled, RunFailed, RunNotFinished, ZangoAIError
from ..ledger import clock, stored_runs
from ..ledger.stored_runs import Status
from ..output import json_reader
from ..output.output_type import OutputType
from ..tools import descriptions
from ..types import LLMResponse, LLMToolCall, PendingApproval


def response_of(row: stored_runs.RunRow, output_type: OutputType | None = None) -> LLMResponse[Any]:
    """What ``run()`` would have returned. Raises RunNotFinished, RunFailed, RunCancelled."""
    if row.status not in stored_runs.STOPPED:
        raise RunNotFinished(row.run_id, row.status, f"Run {row.run_id} is {row.status}. Call wait() first.")
    if row.status == Status.CANCELLED:
        reason = f" {row.error_message}" if row.error_message else ""
        raise RunCancelled(row.run_id, f"Run {row.run_id} was cancelled.{reason}", row.invocation_id)
    if row.status not in {Status.SUCCESS, Status.AWAITING_APPROVAL}:
        raise RunFailed(row.run_id, row.status, row.error_type, row.error_message, row.invocation_id)
    return LLMResponse(
        content=row.content,
        parsed_content=_parsed(row, output_type),
        session_id=row.session_id,
        cost_usd=float(row.cost_usd or 0),
        is_cost_known=row.cost_usd is not None,
        usage=row.usage,
        model=row.model,
        latency_ms=row.latency_ms,
        time_to_first_token_ms=row.time_to_first_token_ms,
        stop_reason=row.stop_reason,  # type: ignore[arg-type]
        tool_calls=[
            LLMToolCall(
                call["call_id"],
                call["tool_name"],
                _as_object(call["arguments"]),
                call["result"],
                call["status"],
            )
            for call in row.calls
        ],
        pending_approvals=[
            PendingApproval(
                call["uid"],
                call["tool_name"],
                _as_object(call["arguments"]),
                clock.to_django_time(datetime.fromisoformat(call["expires_at"])),
                description=call["description"] or descriptions.without_words(call["tool_name"], call["arguments"]),
            )
            for call in row.undecided
        ],
        invocation_id=row.invocation_id,
        run_id=row.run_id,
    )


def _parsed(row: stored_runs.RunRow, output_type: OutputType | None) -> Any:
    if row.status != Status.SUCCESS or (output_type is None and row.output_schema != "json"):
        return None
    try:
        value = json_reader.parse_answer(row.content, stop_reason="end_turn")
        return value if output_type is None else output_type.read(value)
    except ZangoAIError as exc:
        exc.invocation_id = row.invocation_id
        raise


def _as_object(value: object) -> dict[str, object]:
    return value if isinstance(value, dict) else {}
