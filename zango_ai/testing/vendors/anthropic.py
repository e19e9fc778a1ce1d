"""Anthropic's Messages API."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from .base import (
    MODELS,
    Answer,
    Body,
    Vendor,
    invalid_name,
    mappings,
    message_texts,
    split_arguments,
    sse_data,
    text_block,
    text_of,
)


class Anthropic(Vendor):
    _STOPS: Mapping[str, str] = {
        "stop": "end_turn",
        "length": "max_tokens",
        "content_filter": "refusal",
        "tool_calls": "tool_use",
    }
    _ERRORS: Mapping[int, str] = {
        400: "invalid_request_error",
        401: "authentication_error",
        403: "permission_error",
        404: "not_found_error",
        413: "request_too_large",
        429: "rate_limit_error",
        529: "overloaded_error",
    }

    def texts(self, body: Body) -> Iterator[tuple[str, str]]:
        yield "system", text_of(body.get("system"))
        yield from message_texts(body)

    def refusal(self, body: Body) -> str | None:
        return _refusal(body)

    def tool_items(self, body: Body) -> Iterator[Any]:
        yield from mappings(body.get("tools"))
        for message in mappings(body.get("messages")):
            yield from (b for b in mappings(message.get("content")) if b.get("type") in {"tool_use", "tool_result"})

    def response(self, body: Body, answer: Answer) -> dict[str, Any]:
        cached = answer.cache_read_tokens + answer.cache_creation_tokens
        calls = [
            {
                "type": "tool_use",
                "id": call.id or f"toolu_{uuid.uuid4().hex[:24]}",
                "name": call.name,
                "input": call.arguments_object,
            }
            for call in answer.calls
        ]
        return {
            "id": f"msg_{uuid.uuid4().hex}",
            "type": "message",
            "role": "assistant",
            "model": body.get("model", ""),
            "content": [*text_block(answer, {"type": "text", "text": answer.text}), *calls],
            "stop_reason": self._STOPS.get(answer.finish_reason, answer.finish_reason),
            "stop_sequence": None,
            "usage": {
                # Anthropic counts cached tokens separately from input tokens.
                "input_tokens": answer.input_tokens - cached,
                "output_tokens": answer.output_tokens,
                "cache_read_input_tokens": answer.cache_read_tokens,
                "cache_creation_input_tokens": answer.cache_creation_tokens,
            },
        }

    def stream(self, body: Body, answer: Answer, pieces: Sequence[str], *, has_usage: bool) -> Iterator[bytes]:
        return _events(self.response(body, answer), pieces, includes_usage=has_usage)

    def stream_error(self, message: str) -> bytes:
        return _named_event("error", self.error(529, message))

    def error(self, status: int, message: str) -> dict[str, Any]:
        kind = self._ERRORS.get(status, "api_error")
        return {"type": "error", "error": {"type": kind, "message": message}}

    def models(self) -> dict[str, Any]:
        return {"data": [{"type": "model", "id": name} for name in MODELS], "has_more": False}


def _refusal(body: Body) -> str | None:
    messages = mappings(body.get("messages"))
    if not messages:
        return "messages: at least one message is required"
    if messages[0].get("role") != "user":
        return "messages: first message must use the user role"
    return _tools_error(body, messages) or _order_error(messages)


def _tools_error(body: Body, messages: list[Mapping[str, Any]]) -> str | None:
    blocks = [block for message in messages for block in mappings(message.get("content"))]
    used = [block for block in blocks if block.get("type") == "tool_use"]
    tools = mappings(body.get("tools"))
    if not tools and (used or any(block.get("type") == "tool_result" for block in blocks)):
        return "Requests which have `tool_use` or `tool_result` blocks in messages must define tools"
    invalid = invalid_name([holder.get("name") for holder in [*tools, *used]], 128)
    if invalid is not None:
        return f"tools: name {invalid!r} should match pattern '^[a-zA-Z0-9_-]{{1,128}}$'"
    if not all(isinstance(block.get("input"), Mapping) for block in used):
        return "messages: tool_use.input: Input should be a valid dictionary"
    return None


def _order_error(messages: list[Mapping[str, Any]]) -> str | None:
    pending: list[str] = []
    for position, message in enumerate(messages):
        blocks = mappings(message.get("content"))
        if message.get("content") == "" or any(b.get("type") == "text" and not b.get("text") for b in blocks):
            return f"messages.{position}: text content blocks must be non-empty"
        results = [str(b.get("tool_use_id")) for b in blocks if b.get("type") == "tool_result"]
        if any(id not in pending for id in results) or len(results) != len(set(results)):
            return f"messages.{position}: each `tool_result` must have its `tool_use` in the previous message"
        if len(results) < len(pending):
            return _missing_results(position - 1, [id for id in pending if id not in results])
        pending = [str(b.get("id")) for b in blocks if b.get("type") == "tool_use"]
    return _missing_results(len(messages) - 1, pending) if pending else None


def _missing_results(position: int, ids: list[str]) -> str:
    return f"messages.{position}: `tool_use` ids were found without `tool_result` blocks after: {', '.join(ids)}"


def _events(response: Mapping[str, Any], pieces: Sequence[str], *, includes_usage: bool) -> Iterator[bytes]:
    """``message_start`` to ``message_stop``. Input tokens are in the first event, output tokens in the last."""
    usage = response["usage"] if includes_usage else {}
    start = {
        **response,
        "content": [],
        "stop_reason": None,
        "usage": {**usage, "output_tokens": 1} if usage else {},
    }
    yield _named_event("message_start", {"message": start})
    for index, block in enumerate(response["content"]):
        is_text = block["type"] == "text"
        empty = {**block, "text": ""} if is_text else {**block, "input": {}}
        yield _named_event("content_block_start", {"index": index, "content_block": empty})
        if is_text:
            deltas = [{"type": "text_delta", "text": piece} for piece in pieces]
        else:
            parts = split_arguments(json.dumps(block["input"]))
            deltas = [{"type": "input_json_delta", "partial_json": part} for part in parts]
        for delta in deltas:
            yield _named_event("content_block_delta", {"index": index, "delta": delta})
        yield _named_event("content_block_stop", {"index": index})
    end = {"stop_reason": response["stop_reason"], "stop_sequence": None}
    output_usage = {"output_tokens": usage["output_tokens"]} if usage else {}
    yield _named_event("message_delta", {"delta": end, "usage": output_usage})
    yield _named_event("message_stop", {})


def _named_event(event: str, document: Mapping[str, Any]) -> bytes:
    """A server-sent event with its name also in the data."""
    return f"event: {event}\n".encode() + sse_data({"type": event, **document})
