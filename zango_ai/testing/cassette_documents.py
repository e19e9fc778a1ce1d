"""Requests, answers and errors as documents of a cassette, and back."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any

from .. import exceptions
from ..ledger import transcript
from ..types import LLMUsage, ModelAnswer
from .asked import AskedRequest
from .steps import Answer, Failure
from .tool_call import Call

Scrub = Callable[[str], str]
_ABSENT = {"status_code": None, "original_error": None, "retry_after_seconds": None, "field": None}
"""Attributes of errors that are not recorded if they are None."""
_STRUCTURE = {"role", "stop_reason", "type"}
_COUNTS = ("input_tokens", "output_tokens", "cache_creation_tokens", "cache_read_tokens")


def request_document(asked: AskedRequest) -> dict[str, Any]:
    """What decides about the answer, without credentials."""
    request = asked.request
    document: dict[str, Any] = {
        "agent": asked.agent_name,
        "provider": asked.provider_name,
        "model": request.model,
        "temperature": request.temperature,
        "max_tokens": request.max_tokens,
        "messages": transcript.messages_to_json(request.messages),
    }
    if request.wants_json:
        document["json_schema"] = request.json_schema
    if request.tools:
        document["tools"] = transcript.tools_to_json(request.tools)
    return document


def answer_document(answer: ModelAnswer, pieces: Sequence[str] | None) -> dict[str, Any]:
    """``pieces``: of a stream."""
    document: dict[str, Any] = {"text": answer.content}
    if pieces:
        document["pieces"] = list(pieces)
    if answer.tool_calls:
        document["tool_calls"] = transcript.calls_to_json(answer.tool_calls)
    return document | {
        "stop_reason": answer.stop_reason,
        "model": answer.model,
        "usage": {name: getattr(answer.usage, name) for name in _COUNTS},
        "cost_usd": None if answer.cost_usd is None else str(answer.cost_usd),
    }


def error_document(error: exceptions.ZangoAIError, pieces: Sequence[str] | None) -> dict[str, Any]:
    kept = {name: value for name, value in vars(error).items() if isinstance(value, str | int | float | bool)}
    document = {"type": type(error).__name__, "message": str(error), "attributes": kept}
    return document | ({"pieces": list(pieces)} if pieces else {})


def step_of(call: Mapping[str, Any]) -> Answer | Failure:
    """The answer or the error of a recorded call."""
    if "error" in call:
        return _failure(call["error"])
    document = call["answer"]
    return Answer(
        # The empty piece keeps a stream of one piece from being cut into words.
        pieces=[*document["pieces"], ""] if "pieces" in document else [document["text"]],
        calls=[Call(each["name"], each["arguments"], each["id"]) for each in document.get("tool_calls", ())],
        stop_reason=document["stop_reason"],
        model=document["model"],
        usage=LLMUsage(**document["usage"]),
        cost_usd=None if document["cost_usd"] is None else Decimal(document["cost_usd"]),
    )


def _failure(document: Mapping[str, Any]) -> Failure:
    kind = getattr(exceptions, document["type"], exceptions.LLMAPIError)
    error = kind.__new__(kind, document["message"])
    error.args = (document["message"],)
    vars(error).update({**_ABSENT, **document["attributes"]})
    return Failure(error, "".join(document.get("pieces", ())))


def scrubbed(value: Any, scrub: Scrub) -> Any:
    """The document with every text scrubbed."""
    if isinstance(value, str):
        return scrub(value)
    if isinstance(value, Mapping):
        return {key: item if _is_structure(key, item) else scrubbed(item, scrub) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [scrubbed(item, scrub) for item in value]
    return value


def _is_structure(key: str, value: Any) -> bool:
    """Whether the value is a word of the format. A JSON schema may have a field named ``type``, which is a dict."""
    return key in _STRUCTURE and isinstance(value, str)
