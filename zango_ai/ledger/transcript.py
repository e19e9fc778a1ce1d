"""Convert messages, tool calls and tools to JSON for the log and for stored sessions, and back."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ..files.file import LLMFile
from ..types import LLMMessage, ToolRequest, ToolSchema


def messages_to_json(messages: Iterable[LLMMessage]) -> list[dict[str, Any]]:
    """The messages as JSON. A file is stored as its SHA-256 or its URL, without its content."""
    return [_message_to_json(message) for message in messages]


def messages_from_json(
    rows: Iterable[Mapping[str, Any]], file: Callable[[Mapping[str, Any]], LLMFile]
) -> tuple[LLMMessage, ...]:
    """Read the messages of ``messages_to_json()``. ``file`` loads a file from its JSON."""
    return tuple(
        LLMMessage(
            row["role"],
            row["content"],
            calls_from_json(row.get("tool_calls", ())),
            row.get("tool_call_id", ""),
            tuple(map(file, row.get("files", ()))),
        )
        for row in rows
    )


def _message_to_json(message: LLMMessage) -> dict[str, Any]:
    row: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.tool_calls:
        row["tool_calls"] = calls_to_json(message.tool_calls)
    if message.files:
        row["files"] = [_file_to_json(file) for file in message.files]
    return row | ({"tool_call_id": message.tool_call_id} if message.tool_call_id else {})


def calls_to_json(calls: Iterable[ToolRequest]) -> list[dict[str, Any]]:
    return [{"id": call.id, "name": call.name, "arguments": call.arguments} for call in calls]


def calls_from_json(rows: Iterable[Mapping[str, str]]) -> tuple[ToolRequest, ...]:
    """Read the calls of ``calls_to_json()``."""
    return tuple(ToolRequest(row["id"], row["name"], row["arguments"]) for row in rows)


def tools_to_json(tools: Iterable[ToolSchema]) -> list[dict[str, Any]]:
    return [{"name": tool.name, "description": tool.description, "parameters": tool.parameters} for tool in tools]


def _file_to_json(file: LLMFile) -> dict[str, Any]:
    row: dict[str, Any] = {"filename": file.filename, "media_type": file.media_type}
    return row | ({"url": file.url} if file.url is not None else {"size": file.size, "sha256": file.sha256})
