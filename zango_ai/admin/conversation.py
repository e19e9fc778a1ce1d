"""A stored conversation as people read it: messages, and in them the tool calls with their results."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from ..models import MemoryMessage
from ..output import json_reader


@dataclass(slots=True)
class ShownCall:
    """One tool call. ``result`` is None if the conversation has none."""

    name: str
    arguments: Any
    result: Any = None


@dataclass(slots=True)
class ShownMessage:
    """One bubble. ``invocation_id`` is set on the first message of each run."""

    role: str
    created_at: Any
    text: str = ""
    calls: list[ShownCall] = field(default_factory=list)
    """Made before the text was written."""
    invocation_id: int | None = None


def shown_messages(rows: Iterable[MemoryMessage]) -> list[ShownMessage]:
    """The messages in their order. Results stand beside the calls that they answer."""
    shown: list[ShownMessage] = []
    calls: dict[str, ShownCall] = {}
    invocation_id = None
    for row in rows:
        if row.role == "tool":
            call = calls.get(row.tool_call_id)
            if call is not None:
                call.result = _as_json(row.content)
                continue
        message = shown[-1] if shown and _continues(shown[-1], row) else ShownMessage(row.role, row.created_at)
        message.text = row.content
        if row.invocation_id != invocation_id:
            message.invocation_id = invocation_id = row.invocation_id
        new = dict(_calls(row.tool_calls))
        calls |= new
        message.calls.extend(new.values())
        if not shown or message is not shown[-1]:
            shown.append(message)
    return shown


def _continues(message: ShownMessage, row: MemoryMessage) -> bool:
    """Whether the row is what the model said after the tool calls of this message."""
    return message.role == row.role == "assistant" and bool(message.calls) and not message.text


def _calls(stored: Any) -> Iterator[tuple[str, ShownCall]]:
    for each in stored if isinstance(stored, list) else ():
        if isinstance(each, dict):
            yield str(each.get("id") or ""), ShownCall(str(each.get("name") or ""), _as_json(each.get("arguments")))


def _as_json(text: Any) -> Any:
    """The value of JSON, or the text as it is."""
    if not isinstance(text, str):
        return text
    try:
        return json_reader.load(text)
    except ValueError:
        return text
