"""Convert runs and responses to the JSON of the API."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from ..exceptions import RunFailed, RunNotFinished
from ..ledger.stored_runs import RunRow
from ..runs.stored_response import response_of
from ..types import LLMResponse, LLMStreamChunk, LLMToolCall


def response_document(response: LLMResponse) -> dict[str, Any]:
    """An ``LLMResponse`` as JSON. IDs and times are strings."""
    return {
        "run_id": str(response.run_id),
        "invocation_id": response.invocation_id,
        "content": response.content,
        "parsed_content": response.parsed_content,
        "session_id": response.session_id,
        "stop_reason": response.stop_reason,
        "model": response.model,
        "usage": asdict(response.usage),
        "cost_usd": response.cost_usd,
        "is_cost_known": response.is_cost_known,
        "latency_ms": response.latency_ms,
        "time_to_first_token_ms": response.time_to_first_token_ms,
        "tool_calls": [_tool_call(call) for call in response.tool_calls],
        "pending_approvals": [
            {
                "id": str(pending.id),
                "tool_name": pending.tool_name,
                "arguments": dict(pending.arguments),
                "expires_at": pending.expires_at.isoformat(),
                "description": pending.description,
            }
            for pending in response.pending_approvals
        ],
    }


def chunk_document(chunk: LLMStreamChunk) -> dict[str, Any]:
    """A chunk as JSON: its ``type``, and what a chunk of that type has."""
    document: dict[str, Any] = {"type": chunk.type}
    if chunk.type == "text":
        document["text"] = chunk.text
    if chunk.tool_call is not None:
        document["tool_call"] = _tool_call(chunk.tool_call)
    if chunk.response is not None:
        document["response"] = response_document(chunk.response)
    return document


def _tool_call(call: LLMToolCall) -> dict[str, Any]:
    return {
        "id": call.id,
        "name": call.name,
        "input": dict(call.input),
        "result": call.result,
        "status": call.status,
    }


def run_document(row: RunRow) -> dict[str, Any]:
    """The run's status, with ``response`` once it has succeeded or ``error_type`` once it has failed."""
    document: dict[str, Any] = {
        "run_id": str(row.run_id),
        "status": row.status,
        "response": None,
        "error_type": None,
    }
    try:
        document["response"] = response_document(response_of(row))
    except RunNotFinished:
        pass
    except RunFailed as exc:
        document["error_type"] = exc.error_type
    return document
