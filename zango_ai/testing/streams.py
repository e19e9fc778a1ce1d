"""Streamed answers, in each vendor's own events: what ``Dialect.answer()`` returns, cut into pieces.

Each function yields the bytes of one event at a time, so that a server can pause, stall or hang up between two of
them. Shapes are those of the vendors' published API references.
"""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any
from zlib import crc32

SERVER_SENT_EVENTS = "text/event-stream"
EVENT_STREAM = "application/vnd.amazon.eventstream"
_WORD = re.compile(r"\s*\S+|\s+")
_PIECES_OF_ARGUMENTS = 3


def words(text: str) -> list[str]:
    """The pieces that a text is streamed in: a word each, with the white space before it."""
    return _WORD.findall(text)


def openai(answer: Mapping[str, Any], pieces: Iterable[str], *, includes_usage: bool) -> Iterator[bytes]:
    """``chat.completion.chunk`` events. Usage comes last, in a chunk without choices, if the client asks for it."""
    choice = answer["choices"][0]
    head = {key: answer[key] for key in ("id", "created", "model", "service_tier") if key in answer}

    def chunk(delta: Mapping[str, Any], finish_reason: str | None = None) -> bytes:
        choices = [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}]
        return data({**head, "object": "chat.completion.chunk", "choices": choices})

    yield chunk({"role": "assistant", "content": "", "refusal": None})
    for piece in pieces:
        yield chunk({"content": piece})
    for index, call in enumerate(choice["message"].get("tool_calls") or ()):
        function = call["function"]
        begun = {"index": index, "id": call["id"], "type": "function"}
        yield chunk({"tool_calls": [{**begun, "function": {"name": function["name"], "arguments": ""}}]})
        for part in _cut(function["arguments"]):
            yield chunk({"tool_calls": [{"index": index, "function": {"arguments": part}}]})
    yield chunk({}, choice["finish_reason"])
    if includes_usage:
        yield data({**head, "object": "chat.completion.chunk", "choices": [], "usage": answer["usage"]})
    yield b"data: [DONE]\n\n"


def anthropic(answer: Mapping[str, Any], pieces: Sequence[str], *, includes_usage: bool) -> Iterator[bytes]:
    """``message_start`` to ``message_stop``. Input tokens are in the first event, output tokens in the last."""
    usage = answer["usage"] if includes_usage else {}
    begun = {**answer, "content": [], "stop_reason": None, "usage": {**usage, "output_tokens": 1} if usage else {}}
    yield named("message_start", {"message": begun})
    for index, block in enumerate(answer["content"]):
        is_text = block["type"] == "text"
        empty = {**block, "text": ""} if is_text else {**block, "input": {}}
        yield named("content_block_start", {"index": index, "content_block": empty})
        if is_text:
            deltas = [{"type": "text_delta", "text": piece} for piece in pieces]
        else:
            parts = _cut(json.dumps(block["input"]))
            deltas = [{"type": "input_json_delta", "partial_json": part} for part in parts]
        for delta in deltas:
            yield named("content_block_delta", {"index": index, "delta": delta})
        yield named("content_block_stop", {"index": index})
    ended = {"stop_reason": answer["stop_reason"], "stop_sequence": None}
    counted = {"output_tokens": usage["output_tokens"]} if usage else {}
    yield named("message_delta", {"delta": ended, "usage": counted})
    yield named("message_stop", {})


def gemini(answer: Mapping[str, Any], pieces: Iterable[str], *, includes_usage: bool) -> Iterator[bytes]:
    """Answers that each hold a part; the last has the finish reason and the usage."""
    (candidate,) = answer["candidates"]
    parts = [{"text": piece} for piece in pieces]
    parts += [part for part in candidate["content"]["parts"] if "text" not in part]
    for position, part in enumerate(parts or [{"text": ""}], start=1):
        content = {"role": "model", "parts": [part]}
        event = {"candidates": [{"content": content, "index": 0}], "modelVersion": answer["modelVersion"]}
        if position >= len(parts):
            event["candidates"][0]["finishReason"] = candidate["finishReason"]
            event |= {"usageMetadata": answer["usageMetadata"]} if includes_usage else {}
        yield data(event)


def bedrock(answer: Mapping[str, Any], pieces: Sequence[str], *, includes_usage: bool) -> Iterator[bytes]:
    """Events of ConverseStream, in the binary framing ``application/vnd.amazon.eventstream``."""
    yield framed("messageStart", {"role": "assistant"})
    for index, block in enumerate(answer["output"]["message"]["content"]):
        deltas: list[dict[str, Any]]
        if "text" in block:
            deltas = [{"text": piece} for piece in pieces]
        else:
            use = block["toolUse"]
            begun = {"toolUse": {"toolUseId": use["toolUseId"], "name": use["name"]}}
            yield framed("contentBlockStart", {"contentBlockIndex": index, "start": begun})
            deltas = [{"toolUse": {"input": part}} for part in _cut(json.dumps(use["input"]))]
        for delta in deltas:
            yield framed("contentBlockDelta", {"contentBlockIndex": index, "delta": delta})
        yield framed("contentBlockStop", {"contentBlockIndex": index})
    yield framed("messageStop", {"stopReason": answer["stopReason"]})
    if includes_usage:
        yield framed("metadata", {"usage": answer["usage"], "metrics": answer["metrics"]})


def _cut(text: str) -> list[str]:
    size = max(1, -(-len(text) // _PIECES_OF_ARGUMENTS))
    return [text[start : start + size] for start in range(0, len(text), size)]


def data(document: Any) -> bytes:
    """A server-sent event without a name."""
    return b"data: " + json.dumps(document).encode() + b"\n\n"


def named(event: str, document: Mapping[str, Any]) -> bytes:
    """A server-sent event that is named, also inside its data, as Anthropic does."""
    return f"event: {event}\n".encode() + data({"type": event, **document})


def framed(event: str, document: Mapping[str, Any], *, kind: str = "event") -> bytes:
    """One message: two lengths and their checksum, headers, the payload, a checksum of it all."""
    values = {f":{kind}-type": event, ":content-type": "application/json", ":message-type": kind}
    headers = b"".join(
        struct.pack("!B", len(name)) + name.encode() + struct.pack("!BH", 7, len(value)) + value.encode()
        for name, value in values.items()
    )
    payload = json.dumps(document).encode()
    prelude = struct.pack("!II", 16 + len(headers) + len(payload), len(headers))
    message = prelude + struct.pack("!I", crc32(prelude)) + headers + payload
    return message + struct.pack("!I", crc32(message))
