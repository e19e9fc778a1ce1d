"""Google Gemini's API."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from ..tool_call import Call
from .base import MODELS, Answer, Body, Vendor, mappings, sse_data, text_block, text_of


class Gemini(Vendor):
    _STOPS: Mapping[str, str] = {"stop": "STOP", "length": "MAX_TOKENS", "content_filter": "SAFETY"}

    def texts(self, body: Body) -> Iterator[tuple[str, str]]:
        system = body.get("system_instruction") or body.get("systemInstruction") or {}
        yield "system", text_of(system.get("parts"))
        for turn in body.get("contents", []):
            yield turn.get("role", "user"), text_of(turn.get("parts"))

    def refusal(self, body: Body) -> str | None:
        return _refusal(body)

    def tool_items(self, body: Body) -> Iterator[Any]:
        yield from mappings(body.get("tools"))
        for block in (block for turn in mappings(body.get("contents")) for block in mappings(turn.get("parts"))):
            item = _field(block, "functionCall") or _field(block, "functionResponse")
            if item:
                yield item

    def response(self, body: Body, answer: Answer) -> dict[str, Any]:
        calls = [
            {"functionCall": {"name": call.name, "args": call.arguments_object} | _id_of(call)}
            for call in answer.calls
        ]
        return {
            "candidates": [
                {
                    "content": {"role": "model", "parts": [*text_block(answer, {"text": answer.text}), *calls]},
                    "finishReason": self._STOPS.get(answer.finish_reason, "STOP"),
                    "index": 0,
                }
            ],
            "usageMetadata": {
                "promptTokenCount": answer.input_tokens,
                "cachedContentTokenCount": answer.cache_read_tokens,
                # Gemini counts reasoning tokens separately from the answer's.
                "candidatesTokenCount": answer.output_tokens - answer.reasoning_tokens,
                "thoughtsTokenCount": answer.reasoning_tokens,
                "totalTokenCount": answer.input_tokens + answer.output_tokens,
            },
            "modelVersion": "stand-in",
        }

    def is_streamed(self, path: str, body: Body) -> bool:
        return path.endswith(":streamGenerateContent")

    def stream(self, body: Body, answer: Answer, pieces: Sequence[str], *, has_usage: bool) -> Iterator[bytes]:
        return _events(self.response(body, answer), pieces, includes_usage=has_usage)

    def error(self, status: int, message: str) -> dict[str, Any]:
        return {"error": {"code": status, "message": message, "status": "FAILED"}}

    def models(self) -> dict[str, Any]:
        chat = [{"name": f"models/{n}", "supportedGenerationMethods": ["generateContent"]} for n in MODELS]
        other = {"name": "models/stand-in-embedder", "supportedGenerationMethods": ["embedContent"]}
        return {"models": [*chat, other]}


def _refusal(body: Body) -> str | None:
    turns = mappings(body.get("contents"))
    if not turns:
        return "contents is not specified"
    pending = 0
    for turn in turns:
        parts = mappings(turn.get("parts"))
        answered = sum(_field(block, "functionResponse") is not None for block in parts)
        if answered and not pending:
            return "Please ensure that function response turn comes immediately after a function call turn."
        if answered != pending:
            return _WRONG_RESULT_COUNT
        pending = sum(_field(block, "functionCall") is not None for block in parts)
    return _WRONG_RESULT_COUNT if pending else None


_WRONG_RESULT_COUNT = (
    "Please ensure that the number of function response parts is equal to the number of function call parts of the "
    "function call turn."
)


def _field(block: Mapping[str, Any], name: str) -> Any:
    """A field of a block. Gemini accepts both ``functionCall`` and ``function_call``."""
    return block.get(name, block.get(re.sub("[A-Z]", lambda match: f"_{match[0].lower()}", name)))


def _id_of(call: Call) -> dict[str, str]:
    return {"id": call.id} if call.id else {}


def _events(response: Mapping[str, Any], pieces: Iterable[str], *, includes_usage: bool) -> Iterator[bytes]:
    """Responses with one part each. The last has the finish reason and the usage."""
    (candidate,) = response["candidates"]
    parts = [{"text": piece} for piece in pieces]
    parts += [part for part in candidate["content"]["parts"] if "text" not in part]
    for position, part in enumerate(parts or [{"text": ""}], start=1):
        content = {"role": "model", "parts": [part]}
        event = {"candidates": [{"content": content, "index": 0}], "modelVersion": response["modelVersion"]}
        if position >= len(parts):
            event["candidates"][0]["finishReason"] = candidate["finishReason"]
            event |= {"usageMetadata": response["usageMetadata"]} if includes_usage else {}
        yield sse_data(event)
