"""The vendors whose APIs the local model server implements, one module each.

Requests, responses, streams and errors have the shapes of the vendors' published API references, as far as clients
read them. So have the refusals: a vendor rejects messages in the wrong order and malformed tool calls.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

from ..tool_call import Call
from .anthropic import Anthropic
from .base import Answer, Body, Vendor
from .bedrock import Bedrock
from .gemini import Gemini
from .openai import OpenAI

__all__ = [
    "STAND_IN",
    "Answer",
    "Vendor",
    "answer_tokens",
    "chat_vendor",
    "default_answer",
    "models_vendor",
    "request_tokens",
]

STAND_IN = "[stand-in, not a language model]"
"""The beginning of every answer that was not scripted."""
_MAX_QUOTE_CHARS = 240
_CHARS_PER_TOKEN = 4
_CHAT_PATHS: tuple[tuple[str, Vendor], ...] = (
    (r"/v1/chat/completions", OpenAI()),
    (r"/openai/deployments/[^/]+/chat/completions", OpenAI()),
    (r"/v1/messages", Anthropic()),
    (r"/v1beta/models/[^/]+:(?:generateContent|streamGenerateContent)", Gemini()),
    (r"/model/[^/]+/converse(?:-stream)?", Bedrock()),
)


def chat_vendor(path: str) -> Vendor | None:
    """The vendor whose chat API has this path."""
    return next((vendor for pattern, vendor in _CHAT_PATHS if re.fullmatch(pattern, path)), None)


def models_vendor(path: str, headers: Mapping[str, str]) -> Vendor | None:
    """The vendor whose list of models has this path. OpenAI and Anthropic share one and differ by a header."""
    if path == "/v1/models":
        return Anthropic() if "anthropic-version" in headers else OpenAI()
    return Gemini() if path == "/v1beta/models" else None


def default_answer(vendor: Vendor, body: Body) -> str:
    """The answer to a request without a script: it quotes the first and the last user message."""
    questions = [text for role, text in vendor.texts(body) if role == "user" and text.strip()]
    answer = f"{STAND_IN} You asked: {_quote(questions[-1]) if questions else ''}"
    return answer if len(questions) < 2 else f"{answer} This began with: {_quote(questions[0])}"


def _quote(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= _MAX_QUOTE_CHARS else f"{text[:_MAX_QUOTE_CHARS]}…"


def request_tokens(vendor: Vendor, body: Body) -> int:
    """A deterministic estimate: one token per four characters of messages, tools, tool calls and results."""
    items = [json.dumps(item) for item in vendor.tool_items(body)]
    return _count(" ".join([*(text for _role, text in vendor.texts(body)), *items]))


def answer_tokens(text: str, calls: tuple[Call, ...]) -> int:
    """The same estimate for an answer."""
    items = [json.dumps({"name": call.name, "arguments": call.arguments_text}) for call in calls]
    return _count(" ".join([*([text] if text else []), *items]))


def _count(text: str) -> int:
    return max(1, -(-len(text) // _CHARS_PER_TOKEN))
