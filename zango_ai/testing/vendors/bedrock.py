"""Amazon Bedrock's Converse API."""

from __future__ import annotations

import json
import struct
import uuid
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from zlib import crc32

from .base import Answer, Body, Vendor, invalid_name, mappings, message_texts, split_arguments, text_block, text_of


class Bedrock(Vendor):
    media_type = "application/vnd.amazon.eventstream"

    _STOPS: Mapping[str, str] = {
        "stop": "end_turn",
        "length": "max_tokens",
        "content_filter": "content_filtered",
        "tool_calls": "tool_use",
    }

    def texts(self, body: Body) -> Iterator[tuple[str, str]]:
        yield "system", text_of(body.get("system"))
        yield from message_texts(body)

    def refusal(self, body: Body) -> str | None:
        return _refusal(body)

    def tool_items(self, body: Body) -> Iterator[Any]:
        yield from mappings((body.get("toolConfig") or {}).get("tools"))
        for message in mappings(body.get("messages")):
            yield from (b for b in mappings(message.get("content")) if "toolUse" in b or "toolResult" in b)

    def response(self, body: Body, answer: Answer) -> dict[str, Any]:
        cached = answer.cache_read_tokens + answer.cache_creation_tokens
        calls = [
            {
                "toolUse": {
                    "toolUseId": call.id or f"tooluse_{uuid.uuid4().hex[:22]}",
                    "name": call.name,
                    "input": call.arguments_object,
                }
            }
            for call in answer.calls
        ]
        content = [*text_block(answer, {"text": answer.text}), *calls]
        return {
            "output": {"message": {"role": "assistant", "content": content}},
            "stopReason": self._STOPS.get(answer.finish_reason, answer.finish_reason),
            "usage": {
                "inputTokens": answer.input_tokens - cached,
                "outputTokens": answer.output_tokens,
                "cacheReadInputTokens": answer.cache_read_tokens,
                "cacheWriteInputTokens": answer.cache_creation_tokens,
                "totalTokens": answer.input_tokens + answer.output_tokens,
            },
            "metrics": {"latencyMs": 1},
        }

    def is_streamed(self, path: str, body: Body) -> bool:
        return path.endswith("/converse-stream")

    def stream(self, body: Body, answer: Answer, pieces: Sequence[str], *, has_usage: bool) -> Iterator[bytes]:
        return _events(self.response(body, answer), pieces, includes_usage=has_usage)

    def stream_error(self, message: str) -> bytes:
        return _framed_event("modelStreamErrorException", self.error(500, message), kind="exception")

    def error(self, status: int, message: str) -> dict[str, Any]:
        return {"message": message}


def _refusal(body: Body) -> str | None:
    """Only what Converse itself looks at; the models' own rules differ."""
    messages = mappings(body.get("messages"))
    return _tools_error(body, messages) or _order_error(messages)


def _tools_error(body: Body, messages: list[Mapping[str, Any]]) -> str | None:
    uses = [use for message in messages for use in _blocks(message, "toolUse")]
    tools = _blocks({"content": (body.get("toolConfig") or {}).get("tools")}, "toolSpec")
    if not tools and (uses or any(_blocks(message, "toolResult") for message in messages)):
        return "The toolConfig field must be defined when using toolUse and toolResult content blocks."
    invalid = invalid_name([holder.get("name") for holder in [*tools, *uses]], 64)
    if invalid is not None:
        return f"Value {invalid!r} at 'name' failed to satisfy constraint: must match [a-zA-Z0-9_-]{{1,64}}"
    if not all(isinstance(use.get("input"), Mapping) for use in uses):
        return "The format of the value at toolUse.input is invalid. Provide a json object for the field."
    return None


def _order_error(messages: list[Mapping[str, Any]]) -> str | None:
    pending: list[str] = []
    for position, message in enumerate(messages):
        results = [str(result.get("toolUseId")) for result in _blocks(message, "toolResult")]
        if sorted(results) != sorted(pending):
            return _expected_results(position, pending)
        pending = [str(use.get("toolUseId")) for use in _blocks(message, "toolUse")]
    return _expected_results(len(messages), pending) if pending else None


def _blocks(message: Mapping[str, Any], kind: str) -> list[Mapping[str, Any]]:
    return [block[kind] for block in mappings(message.get("content")) if isinstance(block.get(kind), Mapping)]


def _expected_results(position: int, ids: list[str]) -> str:
    if not ids:
        return f"The toolResult blocks at messages.{position}.content exceed the toolUse blocks of the turn before."
    return f"Expected toolResult blocks at messages.{position}.content for the following Ids: {', '.join(ids)}"


def _events(response: Mapping[str, Any], pieces: Sequence[str], *, includes_usage: bool) -> Iterator[bytes]:
    """The events of ConverseStream, in binary frames."""
    yield _framed_event("messageStart", {"role": "assistant"})
    for index, block in enumerate(response["output"]["message"]["content"]):
        deltas: list[dict[str, Any]]
        if "text" in block:
            deltas = [{"text": piece} for piece in pieces]
        else:
            use = block["toolUse"]
            start = {"toolUse": {"toolUseId": use["toolUseId"], "name": use["name"]}}
            yield _framed_event("contentBlockStart", {"contentBlockIndex": index, "start": start})
            deltas = [{"toolUse": {"input": part}} for part in split_arguments(json.dumps(use["input"]))]
        for delta in deltas:
            yield _framed_event("contentBlockDelta", {"contentBlockIndex": index, "delta": delta})
        yield _framed_event("contentBlockStop", {"contentBlockIndex": index})
    yield _framed_event("messageStop", {"stopReason": response["stopReason"]})
    if includes_usage:
        yield _framed_event("metadata", {"usage": response["usage"], "metrics": response["metrics"]})


def _framed_event(event: str, document: Mapping[str, Any], *, kind: str = "event") -> bytes:
    """A frame: two lengths and their checksum, headers, payload, checksum of the frame."""
    values = {f":{kind}-type": event, ":content-type": "application/json", ":message-type": kind}
    headers = b"".join(
        struct.pack("!B", len(name)) + name.encode() + struct.pack("!BH", 7, len(value)) + value.encode()
        for name, value in values.items()
    )
    payload = json.dumps(document).encode()
    prelude = struct.pack("!II", 16 + len(headers) + len(payload), len(headers))
    message = prelude + struct.pack("!I", crc32(prelude)) + headers + payload
    return message + struct.pack("!I", crc32(message))
