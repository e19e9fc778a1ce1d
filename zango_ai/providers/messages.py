"""Messages and tools in the form in which litellm takes them, which is OpenAI's."""

from __future__ import annotations

from typing import Any

from ..sanitize import sendable
from ..types import LLMMessage, ToolSchema
from .file_placeholders import Placeholders


def to_litellm(message: LLMMessage, placeholders: Placeholders) -> dict[str, Any]:
    """The message, with its files before its text. ``placeholders`` keeps the contents of the files."""
    sent: dict[str, Any] = {"role": message.role, "content": sendable(message.content)}
    if message.files:
        text = [{"type": "text", "text": sent["content"]}] if message.content else []
        sent["content"] = [*map(placeholders.part, message.files), *text]
    if message.tool_calls:
        # litellm replaces an empty text by a note of its own when it calls Anthropic, but leaves None alone.
        sent["content"] = sent["content"] or None
        sent["tool_calls"] = [
            {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
            for call in message.tool_calls
        ]
    return sent | ({"tool_call_id": message.tool_call_id} if message.tool_call_id else {})


def tool_to_litellm(tool: ToolSchema) -> dict[str, Any]:
    """The tool's schema."""
    function = {"name": tool.name, "description": tool.description, "parameters": dict(tool.parameters)}
    return {"type": "function", "function": function}
