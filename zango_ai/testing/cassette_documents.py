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
"""Keys whose values are words of the format."""
_JSON_SCHEMAS = {"json_schema", "parameters"}
VERSION = 1
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
    """The document with every text scrubbed; in JSON schemas the keys too, because the application names them."""
    if isinstance(value, Mapping):
        return {key: _scrubbed_entry(key, item, scrub) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [scrubbed(item, scrub) for item in value]
    return scrub(value) if isinstance(value, str) else value


def _scrubbed_entry(key: str, value: Any, scrub: Scrub) -> Any:
    if key in _JSON_SCHEMAS:
        return _scrubbed_schema(value, scrub)
    return value if key in _STRUCTURE else scrubbed(value, scrub)


def _scrubbed_schema(value: Any, scrub: Scrub) -> Any:
    if isinstance(value, Mapping):
        result: dict[str, Any] = {}
        for key, item in value.items():
            name = scrub(str(key))
            while name in result:
                name += "'"
            result[name] = _scrubbed_schema(item, scrub)
        return result
    if isinstance(value, list | tuple):
        return [_scrubbed_schema(item, scrub) for item in value]
    return scrub(value) if isinstance(value, str) else value


def calls_of(document: Any) -> list[Mapping[str, Any]]:
    """The calls of a cassette's document. Raises ValueError, which says what is wrong with it."""
    if not isinstance(document, Mapping) or "calls" not in document:
        raise ValueError("it has no 'calls'.")
    if document.get("version") != VERSION:
        raise ValueError(f"it is of version {document.get('version')!r}, and this release reads version {VERSION}.")
    if not isinstance(document["calls"], list):
        raise ValueError("'calls' is not a list.")
    for number, call in enumerate(document["calls"], start=1):
        try:
            title_of(call["request"])
            step_of(call)
        except (KeyError, TypeError, AttributeError, ValueError, ArithmeticError) as exc:
            raise ValueError(f"call {number} is not complete ({type(exc).__name__}: {exc}).") from None
    return list(document["calls"])


def title_of(request: Mapping[str, Any]) -> str:
    """How messages name a recorded request."""
    who = f"agent {request['agent']!r}" if request["agent"] else f"provider {request['provider']!r}"
    last = next((row["content"] for row in reversed(request["messages"]) if row["role"] == "user"), "")
    return f"The request of {who} ({last[:60]!r})"
