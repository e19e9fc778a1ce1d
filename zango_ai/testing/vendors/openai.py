"""OpenAI's API, which Azure, Mistral, Groq, Ollama and others share."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from .base import MODELS, Answer, Body, Vendor, invalid_name, mappings, message_texts, split_arguments, sse_data


class OpenAI(Vendor):
    def texts(self, body: Body) -> Iterator[tuple[str, str]]:
        return message_texts(body)

    def tool_items(self, body: Body) -> Iterator[Any]:
        yield from mappings(body.get("tools"))
        for message in mappings(body.get("messages")):
            yield from mappings(message.get("tool_calls"))

    def refusal(self, body: Body) -> str | None:
        return _refusal(body)

    def response(self, body: Body, answer: Answer) -> dict[str, Any]:
        return {
            "id": f"chatcmpl-{uuid.uuid4().hex}",
            "object": "chat.completion",
            "created": int(time.time()),
            "model": body.get("model", "stand-in"),
            "service_tier": "default",
            "choices": [
                {
                    "index": 0,
                    "message": self._message(answer),
                    "logprobs": None,
                    "finish_reason": answer.finish_reason,
                }
            ],
            "usage": {
                "prompt_tokens": answer.input_tokens,
                "completion_tokens": answer.output_tokens,
                "total_tokens": answer.input_tokens + answer.output_tokens,
                "prompt_tokens_details": {"cached_tokens": answer.cache_read_tokens},
                "completion_tokens_details": {"reasoning_tokens": answer.reasoning_tokens},
            },
        }

    def _message(self, answer: Answer) -> dict[str, Any]:
        message: dict[str, Any] = {"role": "assistant", "content": answer.text, "refusal": None}
        if not answer.calls:
            return message
        calls = [
            {
                "id": call.id or f"call_{uuid.uuid4().hex[:24]}",
                "type": "function",
                "function": {"name": call.name, "arguments": call.arguments_text},
            }
            for call in answer.calls
        ]
        return message | {"content": answer.text or None, "tool_calls": calls}

    def stream(self, body: Body, answer: Answer, pieces: Sequence[str], *, has_usage: bool) -> Iterator[bytes]:
        is_usage_requested = bool((body.get("stream_options") or {}).get("include_usage"))
        return _events(self.response(body, answer), pieces, includes_usage=has_usage and is_usage_requested)

    def error(self, status: int, message: str) -> dict[str, Any]:
        kind = "server_error" if status >= 500 else "invalid_request_error"
        return {"error": {"message": message, "type": kind, "param": None, "code": None}}

    def models(self) -> dict[str, Any]:
        return {"object": "list", "data": [{"id": name, "object": "model"} for name in MODELS]}


def _refusal(body: Body) -> str | None:
    messages = mappings(body.get("messages"))
    if not messages:
        return "messages must not be empty"
    calls = [_function(call) for message in messages for call in mappings(message.get("tool_calls"))]
    names = [_function(tool).get("name") for tool in mappings(body.get("tools")) if tool.get("type") == "function"]
    invalid = invalid_name([*names, *(function.get("name") for function in calls)], 64)
    if invalid is not None:
        return f"Invalid function name {invalid!r}: expected a string that matches '^[a-zA-Z0-9_-]{{1,64}}$'"
    if not all(isinstance(function.get("arguments"), str) for function in calls):
        return "Invalid type for 'tool_calls[].function.arguments': expected a string"
    return _order_error(messages)


def _order_error(messages: list[Mapping[str, Any]]) -> str | None:
    pending: list[str] = []
    for message in messages:
        if message.get("role") == "tool":
            if message.get("tool_call_id") not in pending:
                return "messages with role 'tool' must be a response to a preceding message with 'tool_calls'"
            pending.remove(message["tool_call_id"])
            continue
        if pending:
            break
        pending = [str(call.get("id")) for call in mappings(message.get("tool_calls"))]
    return f"tool_call_ids did not have response messages: {', '.join(pending)}" if pending else None


def _function(holder: Mapping[str, Any]) -> Mapping[str, Any]:
    function = holder.get("function")
    return function if isinstance(function, Mapping) else {}


def _events(response: Mapping[str, Any], pieces: Iterable[str], *, includes_usage: bool) -> Iterator[bytes]:
    """``chat.completion.chunk`` events. Usage comes last, in a chunk without choices, if the client asks for it."""
    choice = response["choices"][0]
    head = {key: response[key] for key in ("id", "created", "model", "service_tier") if key in response}

    def chunk(delta: Mapping[str, Any], finish_reason: str | None = None) -> bytes:
        choices = [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}]
        return sse_data({**head, "object": "chat.completion.chunk", "choices": choices})

    yield chunk({"role": "assistant", "content": "", "refusal": None})
    for piece in pieces:
        yield chunk({"content": piece})
    for index, call in enumerate(choice["message"].get("tool_calls") or ()):
        function = call["function"]
        start = {"index": index, "id": call["id"], "type": "function"}
        yield chunk({"tool_calls": [{**start, "function": {"name": function["name"], "arguments": ""}}]})
        for part in split_arguments(function["arguments"]):
            yield chunk({"tool_calls": [{"index": index, "function": {"arguments": part}}]})
    yield chunk({}, choice["finish_reason"])
    if includes_usage:
        yield sse_data({**head, "object": "chat.completion.chunk", "choices": [], "usage": response["usage"]})
    yield b"data: [DONE]\n\n"
