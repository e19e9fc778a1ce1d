"""The protocols that the local model server speaks, each found by its path.

A dialect reads the text that was asked out of a vendor's request, and puts a reply into the vendor's answer or
error. Shapes are those of the vendors' published API references, as far as a client reads them.
"""

from __future__ import annotations

import re
import time
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

STAND_IN = "[stand-in, not a language model]"
"""Begins every answer that was not scripted."""
MODELS = ("stand-in-large", "stand-in-small")
"""What the list of models holds."""
_EXTRACT_CHARS = 240
_CHARS_PER_TOKEN = 4


@dataclass(frozen=True, slots=True)
class Said:
    """What is to be answered, in nobody's protocol."""

    text: str
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

    def refusal(self, body: Mapping[str, Any]) -> str | None:
        """What the vendor says of messages in an order that it does not take; None where it does."""
        messages = [message for message in body.get("messages") or () if isinstance(message, Mapping)]
        waiting: list[str] = []
        for message in messages:
            if message.get("role") == "tool":
                if message.get("tool_call_id") not in waiting:
                    return "messages with role 'tool' must be a response to a preceding message with 'tool_calls'"
                waiting.remove(message["tool_call_id"])
                continue
            if waiting:
                break
            waiting = [call.get("id", "") for call in message.get("tool_calls") or ()]
        if waiting:
            return f"tool_call_ids did not have response messages: {', '.join(waiting)}"
        return None if messages else "messages must not be empty"

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
                    "message": {"role": "assistant", "content": said.text, "refusal": None},
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
    _STOPS: Mapping[str, str] = {"stop": "end_turn", "length": "max_tokens", "content_filter": "refusal"}
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
        messages = body.get("messages") or []
        if not messages:
            return "messages: at least one message is required"
        if messages[0].get("role") != "user":
            return "messages: first message must use the user role"
        waiting: set[str] = set()
        for position, message in enumerate(messages):
            blocks = [block for block in message.get("content") or () if isinstance(block, Mapping)]
            if message.get("content") == "" or any(b.get("type") == "text" and not b.get("text") for b in blocks):
                return f"messages.{position}: text content blocks must be non-empty"
            results = {b.get("tool_use_id") for b in blocks if b.get("type") == "tool_result"}
            if results != waiting:
                return f"messages.{position}: each tool_use block must have its tool_result in the next message"
            waiting = {b.get("id", "") for b in blocks if b.get("type") == "tool_use"}
        return "messages: tool_use ids were found without tool_result blocks" if waiting else None

    def answer(self, body: Mapping[str, Any], said: Said) -> dict[str, Any]:
        cached = said.cache_read_tokens + said.cache_creation_tokens
        return {
            "id": f"msg_{uuid.uuid4().hex}",
            "type": "message",
            "role": "assistant",
            "model": body.get("model", ""),
            "content": [{"type": "text", "text": said.text}],
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

    def error(self, status: int, message: str) -> dict[str, Any]:
        kind = self._ERRORS.get(status, "api_error")
        return {"type": "error", "error": {"type": kind, "message": message}}

    def models(self) -> dict[str, Any]:
        return {"data": [{"type": "model", "id": name} for name in MODELS], "has_more": False}


class Gemini(Dialect):
    def refusal(self, body: Mapping[str, Any]) -> str | None:
        return None if body.get("contents") else "contents is not specified"

    _STOPS: Mapping[str, str] = {"stop": "STOP", "length": "MAX_TOKENS", "content_filter": "SAFETY"}

    def texts(self, body: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
        system = body.get("system_instruction") or body.get("systemInstruction") or {}
        yield "system", text_of(system.get("parts"))
        for turn in body.get("contents", []):
            yield turn.get("role", "user"), text_of(turn.get("parts"))

    def answer(self, body: Mapping[str, Any], said: Said) -> dict[str, Any]:
        return {
            "candidates": [
                {
                    "content": {"role": "model", "parts": [{"text": said.text}]},
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

    def error(self, status: int, message: str) -> dict[str, Any]:
        return {"error": {"code": status, "message": message, "status": "FAILED"}}

    def models(self) -> dict[str, Any]:
        chat = [{"name": f"models/{n}", "supportedGenerationMethods": ["generateContent"]} for n in MODELS]
        other = {"name": "models/stand-in-embedder", "supportedGenerationMethods": ["embedContent"]}
        return {"models": [*chat, other]}


class Bedrock(_SystemApart):
    """Bedrock's Converse."""

    def refusal(self, body: Mapping[str, Any]) -> str | None:
        return None  # its rules differ from model to model

    _STOPS: Mapping[str, str] = {"stop": "end_turn", "length": "max_tokens", "content_filter": "content_filtered"}

    def answer(self, body: Mapping[str, Any], said: Said) -> dict[str, Any]:
        cached = said.cache_read_tokens + said.cache_creation_tokens
        return {
            "output": {"message": {"role": "assistant", "content": [{"text": said.text}]}},
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

    def error(self, status: int, message: str) -> dict[str, Any]:
        return {"message": message}


_CHAT: tuple[tuple[str, Dialect], ...] = (
    (r"/v1/chat/completions", Dialect()),
    (r"/openai/deployments/[^/]+/chat/completions", Dialect()),
    (r"/v1/messages", Anthropic()),
    (r"/v1beta/models/[^/]+:generateContent", Gemini()),
    (r"/model/[^/]+/converse", Bedrock()),
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
    said = [text for role, text in dialect.texts(body) if role == "user"]
    answer = f"{STAND_IN} You asked: {_piece(said[-1]) if said else ''}"
    return answer if len(said) < 2 else f"{answer} This began with: {_piece(said[0])}"


def _piece(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= _EXTRACT_CHARS else f"{text[:_EXTRACT_CHARS]}…"


def count_tokens(dialect: Dialect, body: Mapping[str, Any]) -> int:
    """A steady estimate: a token for every four characters of everything that was sent as text."""
    return count_text(" ".join(text for _role, text in dialect.texts(body)))


def count_text(text: str) -> int:
    return max(1, -(-len(text) // _CHARS_PER_TOKEN))


def text_of(content: Any) -> str:
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        return "\n".join(str(part.get("text", "")) for part in content if isinstance(part, Mapping))
    return ""
