"""The two protocols that the local model server speaks: OpenAI's chat completions, Anthropic's messages.

Each turns a vendor's request into the text that was asked, and a reply into the vendor's answer and errors.
Shapes are those of the vendors' published API references.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping
from typing import Any, Protocol

STAND_IN = "[stand-in, not a language model]"
"""Begins every answer that was not scripted."""
_EXTRACT_CHARS = 240
_CHARS_PER_TOKEN = 4


class Dialect(Protocol):
    """One vendor's way of saying it."""

    def answer(self, body: Mapping[str, Any], text: str, usage: Mapping[str, int], stop: str) -> dict[str, Any]: ...

    def error(self, status: int, message: str) -> dict[str, Any]: ...


class OpenAI:
    """POST /v1/chat/completions"""

    def answer(self, body: Mapping[str, Any], text: str, usage: Mapping[str, int], stop: str) -> dict[str, Any]:
        return {
            "id": f"chatcmpl-{uuid.uuid4().hex}",
            "object": "chat.completion",
            "created": int(time.time()),
            "model": body.get("model", ""),
            "choices": [
                {
                    "index": 0,
                    "message": {"role": "assistant", "content": text, "refusal": None},
                    "logprobs": None,
                    "finish_reason": stop,
                }
            ],
            "usage": {
                "prompt_tokens": usage["input"],
                "completion_tokens": usage["output"],
                "total_tokens": usage["input"] + usage["output"],
                "prompt_tokens_details": {"cached_tokens": usage["cache_read"]},
            },
        }

    def error(self, status: int, message: str) -> dict[str, Any]:
        kind = "server_error" if status >= 500 else "invalid_request_error"
        return {"error": {"message": message, "type": kind, "param": None, "code": None}}


class Anthropic:
    """POST /v1/messages"""

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

    def answer(self, body: Mapping[str, Any], text: str, usage: Mapping[str, int], stop: str) -> dict[str, Any]:
        cached = usage["cache_read"] + usage["cache_creation"]
        return {
            "id": f"msg_{uuid.uuid4().hex}",
            "type": "message",
            "role": "assistant",
            "model": body.get("model", ""),
            "content": [{"type": "text", "text": text}],
            "stop_reason": self._STOPS.get(stop, stop),
            "stop_sequence": None,
            "usage": {
                # Anthropic counts the cached tokens beside the input tokens, not among them.
                "input_tokens": usage["input"] - cached,
                "output_tokens": usage["output"],
                "cache_read_input_tokens": usage["cache_read"],
                "cache_creation_input_tokens": usage["cache_creation"],
            },
        }

    def error(self, status: int, message: str) -> dict[str, Any]:
        kind = self._ERRORS.get(status, "api_error")
        return {"type": "error", "error": {"type": kind, "message": message}}


DIALECTS: Mapping[str, Dialect] = {"/v1/chat/completions": OpenAI(), "/v1/messages": Anthropic()}


def last_user_text(body: Mapping[str, Any]) -> str:
    """The text of the last user message, in either protocol."""
    for message in reversed(body.get("messages", [])):
        if message.get("role") == "user":
            return _text_of(message.get("content"))
    return ""


def extract(body: Mapping[str, Any]) -> str:
    """The answer without a script: a short piece of what was asked, said to be no more than that."""
    asked = " ".join(last_user_text(body).split())
    piece = asked if len(asked) <= _EXTRACT_CHARS else f"{asked[:_EXTRACT_CHARS]}…"
    return f"{STAND_IN} You asked: {piece}"


def count_tokens(body: Mapping[str, Any]) -> int:
    """A steady estimate: a token for every four characters of everything that was sent as text."""
    texts = [_text_of(message.get("content")) for message in body.get("messages", [])]
    texts.append(_text_of(body.get("system")))
    return count_text(" ".join(texts))


def count_text(text: str) -> int:
    return max(1, -(-len(text) // _CHARS_PER_TOKEN))


def _text_of(content: Any) -> str:
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        return "\n".join(str(part.get("text", "")) for part in content if isinstance(part, Mapping))
    return ""
