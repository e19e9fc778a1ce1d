"""The UI message stream of Vercel's AI SDK, version 1: the format of ``POST agents/<name>/chat/``.

The documentation of the AI SDK UI describes it. A message has steps: the model's text, then its tool
calls with their results. ``reset-step`` needs version 7 of the npm package ``ai``.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import asdict
from typing import Any

from ..exceptions import RunCancelled
from ..types import LLMResponse, LLMStreamChunk, LLMToolCall
from .errors import streamed_error
from .stream_events import event

_FINISH_REASONS = {
    "end_turn": "stop",
    "max_tokens": "length",
    "refusal": "content-filter",
    "approval_required": "tool-calls",
}


class ChatEvents:
    """The parts of one assistant message."""

    headers: Mapping[str, str] = {"x-vercel-ai-ui-message-stream": "v1"}

    def __init__(self, message_id: str | None = None, known_calls: Collection[str] = ()) -> None:
        """``known_calls`` are IDs of tool calls that the client's message has already.

        Without a ``message_id``, the client makes one or continues its last message.
        """
        self._message_id = message_id
        self._shown_calls = set(known_calls)
        self._has_begun = self._is_step_open = self._is_round_over = False
        self._text_id = ""
        """Of the open text part."""

    def begin(self) -> bytes:
        return b""

    def chunk(self, chunk: LLMStreamChunk) -> bytes:
        parts = self._start()
        match chunk.type:
            case "text":
                parts += self._text(chunk)
            case "tool_call" | "tool_result" if chunk.tool_call is not None:
                parts += self._tool_call(chunk.tool_call)
            case "round_end":
                parts += self._end_text()
                self._is_round_over = True
            case "reset":
                self._text_id = ""
                parts.append({"type": "reset-step"})
            case "final" if chunk.response is not None:
                parts += self._final(chunk.response)
        return b"".join(map(event, parts))

    def error(self, exc: Exception) -> bytes:
        if isinstance(exc, RunCancelled):
            end = {"type": "abort"}
        else:
            end = {"type": "error", "errorText": str(streamed_error(exc))}
        return b"".join(map(event, [*self._start(), end]))

    def end(self) -> bytes:
        return event("[DONE]")

    def _start(self) -> list[dict[str, Any]]:
        if self._has_begun:
            return []
        self._has_begun = True
        return [{"type": "start"} | ({"messageId": self._message_id} if self._message_id else {})]

    def _text(self, chunk: LLMStreamChunk) -> list[dict[str, Any]]:
        parts = self._open_step()
        if not self._text_id:
            self._text_id = f"text-{chunk.number}"
            parts.append({"type": "text-start", "id": self._text_id})
        return [*parts, {"type": "text-delta", "id": self._text_id, "delta": chunk.text}]

    def _tool_call(self, call: LLMToolCall) -> list[dict[str, Any]]:
        parts = self._end_text()
        if call.id not in self._shown_calls:
            parts += self._open_step(starts_round=False)
            self._shown_calls.add(call.id)
            parts.append(_input(call))
        return parts if call.status == "running" else [*parts, _output(call)]

    def _final(self, response: LLMResponse) -> list[dict[str, Any]]:
        parts = self._end_text()
        waiting = [call for call in response.tool_calls if call.status == "awaiting_approval"]
        for call, pending in zip(waiting, response.pending_approvals, strict=False):
            if call.id not in self._shown_calls:
                parts += [*self._open_step(starts_round=False), _input(call)]
            parts.append({"type": "tool-approval-request", "approvalId": pending.id, "toolCallId": call.id})
        metadata = {
            "run_id": str(response.run_id),
            "stop_reason": response.stop_reason,
            "usage": asdict(response.usage),
            "cost_usd": response.cost_usd,
            "is_cost_known": response.is_cost_known,
        }
        reason = _FINISH_REASONS.get(response.stop_reason, "other")
        finish = {"type": "finish", "finishReason": reason, "messageMetadata": metadata}
        return [*parts, *self._end_step(), finish]

    def _open_step(self, *, starts_round: bool = True) -> list[dict[str, Any]]:
        """A step is a round of the run, with the tool calls that follow it."""
        if self._is_step_open and not (starts_round and self._is_round_over):
            return []
        parts = [*self._end_step(), {"type": "start-step"}]
        self._is_step_open, self._is_round_over = True, not starts_round
        return parts

    def _end_step(self) -> list[dict[str, Any]]:
        was_open, self._is_step_open = self._is_step_open, False
        return [{"type": "finish-step"}] if was_open else []

    def _end_text(self) -> list[dict[str, Any]]:
        ended, self._text_id = self._text_id, ""
        return [{"type": "text-end", "id": ended}] if ended else []


def _input(call: LLMToolCall) -> dict[str, Any]:
    return {
        "type": "tool-input-available",
        "toolCallId": call.id,
        "toolName": call.name,
        "input": dict(call.input),
    }


def _output(call: LLMToolCall) -> dict[str, Any]:
    if call.status == "success":
        return {"type": "tool-output-available", "toolCallId": call.id, "output": call.result}
    if call.status == "denied":
        return {"type": "tool-output-denied", "toolCallId": call.id}
    text = call.result if isinstance(call.result, str) else str(call.result)
    return {"type": "tool-output-error", "toolCallId": call.id, "errorText": text}
