"""What each vendor refuses before a model sees it: each function gives the vendor's words, or None.

The rules are those of the vendors' published API references and error messages, as far as a history with tool calls
can break them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any


def mappings(value: Any) -> list[Mapping[str, Any]]:
    """The objects of a list that a client has sent."""
    return [item for item in value if isinstance(item, Mapping)] if isinstance(value, list) else []


def part(block: Mapping[str, Any], name: str) -> Any:
    """A field of Gemini's, which takes ``functionCall`` and ``function_call``."""
    return block.get(name, block.get(re.sub("[A-Z]", lambda match: f"_{match[0].lower()}", name)))


def of_openai(body: Mapping[str, Any]) -> str | None:
    messages = mappings(body.get("messages"))
    if not messages:
        return "messages must not be empty"
    called = [_function(call) for message in messages for call in mappings(message.get("tool_calls"))]
    names = [_function(tool).get("name") for tool in mappings(body.get("tools")) if tool.get("type") == "function"]
    bad = _bad_name([*names, *(function.get("name") for function in called)], 64)
    if bad is not None:
        return f"Invalid function name {bad!r}: expected a string that matches '^[a-zA-Z0-9_-]{{1,64}}$'"
    if not all(isinstance(function.get("arguments"), str) for function in called):
        return "Invalid type for 'tool_calls[].function.arguments': expected a string"
    return _openai_order(messages)


def _openai_order(messages: list[Mapping[str, Any]]) -> str | None:
    waiting: list[str] = []
    for message in messages:
        if message.get("role") == "tool":
            if message.get("tool_call_id") not in waiting:
                return "messages with role 'tool' must be a response to a preceding message with 'tool_calls'"
            waiting.remove(message["tool_call_id"])
            continue
        if waiting:
            break
        waiting = [str(call.get("id")) for call in mappings(message.get("tool_calls"))]
    return f"tool_call_ids did not have response messages: {', '.join(waiting)}" if waiting else None


def _function(holder: Mapping[str, Any]) -> Mapping[str, Any]:
    function = holder.get("function")
    return function if isinstance(function, Mapping) else {}


def of_anthropic(body: Mapping[str, Any]) -> str | None:
    messages = mappings(body.get("messages"))
    if not messages:
        return "messages: at least one message is required"
    if messages[0].get("role") != "user":
        return "messages: first message must use the user role"
    return _anthropic_tools(body, messages) or _anthropic_order(messages)


def _anthropic_tools(body: Mapping[str, Any], messages: list[Mapping[str, Any]]) -> str | None:
    blocks = [block for message in messages for block in mappings(message.get("content"))]
    used = [block for block in blocks if block.get("type") == "tool_use"]
    tools = mappings(body.get("tools"))
    if not tools and (used or any(block.get("type") == "tool_result" for block in blocks)):
        return "Requests which have `tool_use` or `tool_result` blocks in messages must define tools"
    bad = _bad_name([holder.get("name") for holder in [*tools, *used]], 128)
    if bad is not None:
        return f"tools: name {bad!r} should match pattern '^[a-zA-Z0-9_-]{{1,128}}$'"
    if not all(isinstance(block.get("input"), Mapping) for block in used):
        return "messages: tool_use.input: Input should be a valid dictionary"
    return None


def _anthropic_order(messages: list[Mapping[str, Any]]) -> str | None:
    waiting: list[str] = []
    for position, message in enumerate(messages):
        blocks = mappings(message.get("content"))
        if message.get("content") == "" or any(b.get("type") == "text" and not b.get("text") for b in blocks):
            return f"messages.{position}: text content blocks must be non-empty"
        results = [str(b.get("tool_use_id")) for b in blocks if b.get("type") == "tool_result"]
        if any(id not in waiting for id in results) or len(results) != len(set(results)):
            return f"messages.{position}: each `tool_result` must have its `tool_use` in the previous message"
        if len(results) < len(waiting):
            return _anthropic_misses(position - 1, [id for id in waiting if id not in results])
        waiting = [str(b.get("id")) for b in blocks if b.get("type") == "tool_use"]
    return _anthropic_misses(len(messages) - 1, waiting) if waiting else None


def _anthropic_misses(position: int, ids: list[str]) -> str:
    return f"messages.{position}: `tool_use` ids were found without `tool_result` blocks after: {', '.join(ids)}"


def of_gemini(body: Mapping[str, Any]) -> str | None:
    turns = mappings(body.get("contents"))
    if not turns:
        return "contents is not specified"
    waiting = 0
    for turn in turns:
        parts = mappings(turn.get("parts"))
        answered = sum(part(block, "functionResponse") is not None for block in parts)
        if answered and not waiting:
            return "Please ensure that function response turn comes immediately after a function call turn."
        if answered != waiting:
            return _GEMINI_COUNT
        waiting = sum(part(block, "functionCall") is not None for block in parts)
    return _GEMINI_COUNT if waiting else None


_GEMINI_COUNT = (
    "Please ensure that the number of function response parts is equal to the number of function call parts of the "
    "function call turn."
)


def of_bedrock(body: Mapping[str, Any]) -> str | None:
    """Only what Converse itself looks at; the models' own rules differ."""
    messages = mappings(body.get("messages"))
    return _bedrock_tools(body, messages) or _bedrock_order(messages)


def _bedrock_tools(body: Mapping[str, Any], messages: list[Mapping[str, Any]]) -> str | None:
    uses = [use for message in messages for use in _blocks(message, "toolUse")]
    tools = _blocks({"content": (body.get("toolConfig") or {}).get("tools")}, "toolSpec")
    if not tools and (uses or any(_blocks(message, "toolResult") for message in messages)):
        return "The toolConfig field must be defined when using toolUse and toolResult content blocks."
    bad = _bad_name([holder.get("name") for holder in [*tools, *uses]], 64)
    if bad is not None:
        return f"Value {bad!r} at 'name' failed to satisfy constraint: must match [a-zA-Z0-9_-]{{1,64}}"
    if not all(isinstance(use.get("input"), Mapping) for use in uses):
        return "The format of the value at toolUse.input is invalid. Provide a json object for the field."
    return None


def _bedrock_order(messages: list[Mapping[str, Any]]) -> str | None:
    waiting: list[str] = []
    for position, message in enumerate(messages):
        results = [str(result.get("toolUseId")) for result in _blocks(message, "toolResult")]
        if sorted(results) != sorted(waiting):
            return _bedrock_expects(position, waiting)
        waiting = [str(use.get("toolUseId")) for use in _blocks(message, "toolUse")]
    return _bedrock_expects(len(messages), waiting) if waiting else None


def _blocks(message: Mapping[str, Any], kind: str) -> list[Mapping[str, Any]]:
    return [block[kind] for block in mappings(message.get("content")) if isinstance(block.get(kind), Mapping)]


def _bedrock_expects(position: int, ids: list[str]) -> str:
    if not ids:
        return f"The toolResult blocks at messages.{position}.content exceed the toolUse blocks of the turn before."
    return f"Expected toolResult blocks at messages.{position}.content for the following Ids: {', '.join(ids)}"


def _bad_name(names: Iterable[Any], longest: int) -> Any:
    """The first that is no name of a tool; None where all are. A name that is missing shows as ''."""
    shape = re.compile(rf"[a-zA-Z0-9_-]{{1,{longest}}}")
    return next(("" if n is None else n for n in names if not isinstance(n, str) or not shape.fullmatch(n)), None)
