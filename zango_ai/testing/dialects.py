"""The protocols that the local model server speaks, each found by its path.

A dialect reads the text that was asked out of a vendor's request, and puts a reply into the vendor's answer or
error. Shapes are those of the vendors' published API references, as far as a client reads them.
"""

from __future__ import annotations

import json
import re
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from . import refusals, streams
from .calls import Call
from .refusals import mappings, part

STAND_IN = "[stand-in, not a language model]"
"""Begins every answer that was not scripted."""
Body = Mapping[str, Any]
MODELS = ("stand-in-large", "stand-in-small")
"""What the list of models holds."""
_EXTRACT_CHARS = 240
_CHARS_PER_TOKEN = 4


@dataclass(frozen=True, slots=True)
class Said:
    """What is to be answered, in nobody's protocol."""

    text: str
    calls: tuple[Call, ...]
    finish_reason: str
    """OpenAI's word for it."""
    input_tokens: int
    """Everything that was sent; the cached tokens are parts of it."""
    output_tokens: int
    """Reasoning tokens are part of it."""
    cache_read_tokens: int
    cache_creation_tokens: int
    reasoning_tokens: int


class Dialect:
    """One vendor's way of saying it; this one is OpenAI's, which Azure, Mistral, Groq, Ollama and others share."""

    def texts(self, body: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
        """Role and text of everything that was sent."""
        for message in body.get("messages", []):
            if not isinstance(message, Mapping):
                continue
            yield message.get("role", ""), text_of(message.get("content"))

    def tool_talk(self, body: Mapping[str, Any]) -> Iterator[Any]:
        """The tools, calls and results that were sent, beside the texts."""
        yield from mappings(body.get("tools"))
        for message in mappings(body.get("messages")):
            yield from mappings(message.get("tool_calls"))

    def refusal(self, body: Mapping[str, Any]) -> str | None:
        """What the vendor says of a request that it does not take; None where it does."""
        return refusals.of_openai(body)

    def answer(self, body: Mapping[str, Any], said: Said) -> dict[str, Any]:
        return {
            "id": f"chatcmpl-{uuid.uuid4().hex}",
            "object": "chat.completion",
            "created": int(time.time()),
            "model": body.get("model", "stand-in"),
            "service_tier": "default",
            "choices": [
                {
                    "index": 0,
                    "message": self._message(said),
                    "logprobs": None,
                    "finish_reason": said.finish_reason,
                }
            ],
            "usage": {
                "prompt_tokens": said.input_tokens,
                "completion_tokens": said.output_tokens,
                "total_tokens": said.input_tokens + said.output_tokens,
                "prompt_tokens_details": {"cached_tokens": said.cache_read_tokens},
                "completion_tokens_details": {"reasoning_tokens": said.reasoning_tokens},
            },
        }

    def _message(self, said: Said) -> dict[str, Any]:
        message: dict[str, Any] = {"role": "assistant", "content": said.text, "refusal": None}
        if not said.calls:
            return message
        calls = [
            {
                "id": call.id or f"call_{uuid.uuid4().hex[:24]}",
                "type": "function",
                "function": {"name": call.name, "arguments": call.arguments_text},
            }
            for call in said.calls
        ]
        return message | {"content": said.text or None, "tool_calls": calls}

    media_type = streams.SERVER_SENT_EVENTS
    """Of a streamed answer."""

    def is_streamed(self, path: str, body: Mapping[str, Any]) -> bool:
        """Whether the client asks for a stream."""
        return body.get("stream") is True

    def stream(
        self, body: Mapping[str, Any], said: Said, pieces: Sequence[str], *, has_usage: bool
    ) -> Iterator[bytes]:
        """The answer as events; ``pieces`` are its text."""
        wanted = bool((body.get("stream_options") or {}).get("include_usage"))
        return streams.openai(self.answer(body, said), pieces, includes_usage=has_usage and wanted)

    def stream_error(self, message: str) -> bytes:
        """An error that breaks a stream off."""
        return streams.data(self.error(500, message))

    def error(self, status: int, message: str) -> dict[str, Any]:
        kind = "server_error" if status >= 500 else "invalid_request_error"
        return {"error": {"message": message, "type": kind, "param": None, "code": None}}

    def models(self) -> dict[str, Any]:
        return {"object": "list", "data": [{"id": name, "object": "model"} for name in MODELS]}


class _SystemApart(Dialect):
    """A protocol that has the system prompt beside the messages."""

    def texts(self, body: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
        yield "system", text_of(body.get("system"))
        yield from super().texts(body)


class Anthropic(_SystemApart):
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

    def refusal(self, body: Mapping[str, Any]) -> str | None:
        return refusals.of_anthropic(body)

    def tool_talk(self, body: Mapping[str, Any]) -> Iterator[Any]:
        yield from mappings(body.get("tools"))
        for message in mappings(body.get("messages")):
            yield from (b for b in mappings(message.get("content")) if b.get("type") in {"tool_use", "tool_result"})

    def answer(self, body: Mapping[str, Any], said: Said) -> dict[str, Any]:
        cached = said.cache_read_tokens + said.cache_creation_tokens
        calls = [
            {
                "type": "tool_use",
                "id": call.id or f"toolu_{uuid.uuid4().hex[:24]}",
                "name": call.name,
                "input": call.arguments_object,
            }
            for call in said.calls
        ]
        return {
            "id": f"msg_{uuid.uuid4().hex}",
            "type": "message",
            "role": "assistant",
            "model": body.get("model", ""),
            "content": [*_text_first(said, {"type": "text", "text": said.text}), *calls],
            "stop_reason": self._STOPS.get(said.finish_reason, said.finish_reason),
            "stop_sequence": None,
            "usage": {
                # Anthropic counts the cached tokens beside the input tokens, not among them.
                "input_tokens": said.input_tokens - cached,
                "output_tokens": said.output_tokens,
                "cache_read_input_tokens": said.cache_read_tokens,
                "cache_creation_input_tokens": said.cache_creation_tokens,
            },
        }

    def stream(
        self, body: Mapping[str, Any], said: Said, pieces: Sequence[str], *, has_usage: bool
    ) -> Iterator[bytes]:
        return streams.anthropic(self.answer(body, said), pieces, includes_usage=has_usage)

    def stream_error(self, message: str) -> bytes:
        return streams.named("error", self.error(529, message))

    def error(self, status: int, message: str) -> dict[str, Any]:
        kind = self._ERRORS.get(status, "api_error")
        return {"type": "error", "error": {"type": kind, "message": message}}

    def models(self) -> dict[str, Any]:
        return {"data": [{"type": "model", "id": name} for name in MODELS], "has_more": False}


class Gemini(Dialect):
    def refusal(self, body: Mapping[str, Any]) -> str | None:
        return refusals.of_gemini(body)

    _STOPS: Mapping[str, str] = {"stop": "STOP", "length": "MAX_TOKENS", "content_filter": "SAFETY"}

    def texts(self, body: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
        system = body.get("system_instruction") or body.get("systemInstruction") or {}
        yield "system", text_of(system.get("parts"))
        for turn in body.get("contents", []):
            yield turn.get("role", "user"), text_of(turn.get("parts"))

    def tool_talk(self, body: Mapping[str, Any]) -> Iterator[Any]:
        yield from mappings(body.get("tools"))
        for block in (block for turn in mappings(body.get("contents")) for block in mappings(turn.get("parts"))):
            talk = part(block, "functionCall") or part(block, "functionResponse")
            if talk:
                yield talk

    def answer(self, body: Mapping[str, Any], said: Said) -> dict[str, Any]:
        calls = [
            {"functionCall": {"name": call.name, "args": call.arguments_object} | _id_of(call)}
            for call in said.calls
        ]
        return {
            "candidates": [
                {
                    "content": {"role": "model", "parts": [*_text_first(said, {"text": said.text}), *calls]},
                    "finishReason": self._STOPS.get(said.finish_reason, "STOP"),
                    "index": 0,
                }
            ],
            "usageMetadata": {
                "promptTokenCount": said.input_tokens,
                "cachedContentTokenCount": said.cache_read_tokens,
                # Gemini counts its thoughts beside the candidates.
                "candidatesTokenCount": said.output_tokens - said.reasoning_tokens,
                "thoughtsTokenCount": said.reasoning_tokens,
                "totalTokenCount": said.input_tokens + said.output_tokens,
            },
            "modelVersion": "stand-in",
        }

    def is_streamed(self, path: str, body: Mapping[str, Any]) -> bool:
        return path.endswith(":streamGenerateContent")

    def stream(
        self, body: Mapping[str, Any], said: Said, pieces: Sequence[str], *, has_usage: bool
    ) -> Iterator[bytes]:
        return streams.gemini(self.answer(body, said), pieces, includes_usage=has_usage)

    def error(self, status: int, message: str) -> dict[str, Any]:
        return {"error": {"code": status, "message": message, "status": "FAILED"}}

    def models(self) -> dict[str, Any]:
        chat = [{"name": f"models/{n}", "supportedGenerationMethods": ["generateContent"]} for n in MODELS]
        other = {"name": "models/stand-in-embedder", "supportedGenerationMethods": ["embedContent"]}
        return {"models": [*chat, other]}


class Bedrock(_SystemApart):
    """Bedrock's Converse."""

    def refusal(self, body: Mapping[str, Any]) -> str | None:
        return refusals.of_bedrock(body)

    _STOPS: Mapping[str, str] = {
        "stop": "end_turn",
        "length": "max_tokens",
        "content_filter": "content_filtered",
        "tool_calls": "tool_use",
    }

    def tool_talk(self, body: Mapping[str, Any]) -> Iterator[Any]:
        yield from mappings((body.get("toolConfig") or {}).get("tools"))
        for message in mappings(body.get("messages")):
            yield from (b for b in mappings(message.get("content")) if "toolUse" in b or "toolResult" in b)

    def answer(self, body: Mapping[str, Any], said: Said) -> dict[str, Any]:
        cached = said.cache_read_tokens + said.cache_creation_tokens
        calls = [
            {
                "toolUse": {
                    "toolUseId": call.id or f"tooluse_{uuid.uuid4().hex[:22]}",
                    "name": call.name,
                    "input": call.arguments_object,
                }
            }
            for call in said.calls
        ]
        content = [*_text_first(said, {"text": said.text}), *calls]
        return {
            "output": {"message": {"role": "assistant", "content": content}},
            "stopReason": self._STOPS.get(said.finish_reason, said.finish_reason),
            "usage": {
                "inputTokens": said.input_tokens - cached,
                "outputTokens": said.output_tokens,
                "cacheReadInputTokens": said.cache_read_tokens,
                "cacheWriteInputTokens": said.cache_creation_tokens,
                "totalTokens": said.input_tokens + said.output_tokens,
            },
            "metrics": {"latencyMs": 1},
        }

    media_type = streams.EVENT_STREAM

    def is_streamed(self, path: str, body: Mapping[str, Any]) -> bool:
        return path.endswith("/converse-stream")

    def stream(
        self, body: Mapping[str, Any], said: Said, pieces: Sequence[str], *, has_usage: bool
    ) -> Iterator[bytes]:
        return streams.bedrock(self.answer(body, said), pieces, includes_usage=has_usage)

    def stream_error(self, message: str) -> bytes:
        return streams.framed("modelStreamErrorException", self.error(500, message), kind="exception")

    def error(self, status: int, message: str) -> dict[str, Any]:
        return {"message": message}


_CHAT: tuple[tuple[str, Dialect], ...] = (
    (r"/v1/chat/completions", Dialect()),
    (r"/openai/deployments/[^/]+/chat/completions", Dialect()),
    (r"/v1/messages", Anthropic()),
    (r"/v1beta/models/[^/]+:(?:generateContent|streamGenerateContent)", Gemini()),
    (r"/model/[^/]+/converse(?:-stream)?", Bedrock()),
)


def of_chat(path: str) -> Dialect | None:
    """Who answers a POST to ``path``."""
    return next((dialect for pattern, dialect in _CHAT if re.fullmatch(pattern, path)), None)


def of_models(path: str, headers: Mapping[str, str]) -> Dialect | None:
    """Who lists models at ``path``: OpenAI and Anthropic do it at the same one."""
    if path == "/v1/models":
        return Anthropic() if "anthropic-version" in headers else Dialect()
    return Gemini() if path == "/v1beta/models" else None


def extract(dialect: Dialect, body: Mapping[str, Any]) -> str:
    """The answer without a script: a short piece of what was asked, said to be no more than that."""
    said = [text for role, text in dialect.texts(body) if role == "user" and text.strip()]
    answer = f"{STAND_IN} You asked: {_piece(said[-1]) if said else ''}"
    return answer if len(said) < 2 else f"{answer} This began with: {_piece(said[0])}"


def _piece(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= _EXTRACT_CHARS else f"{text[:_EXTRACT_CHARS]}…"


def count_tokens(dialect: Dialect, body: Mapping[str, Any]) -> int:
    """A steady estimate: a token for every four characters of the texts, tools, calls and results sent."""
    talk = [json.dumps(item) for item in dialect.tool_talk(body)]
    return count_text(" ".join([*(text for _role, text in dialect.texts(body)), *talk]))


def count_said(text: str, calls: tuple[Call, ...]) -> int:
    talk = [json.dumps({"name": call.name, "arguments": call.arguments_text}) for call in calls]
    return count_text(" ".join([*([text] if text else []), *talk]))


def count_text(text: str) -> int:
    return max(1, -(-len(text) // _CHARS_PER_TOKEN))


def _id_of(call: Call) -> dict[str, str]:
    return {"id": call.id} if call.id else {}


def _text_first(said: Said, block: dict[str, Any]) -> list[dict[str, Any]]:
    """The text's block, which is left out where there are only calls."""
    return [block] if said.text or not said.calls else []


def text_of(content: Any) -> str:
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        return "\n".join(str(part.get("text", "")) for part in content if isinstance(part, Mapping))
    return ""
