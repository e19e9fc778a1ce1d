"""Read what the AI SDK's chat sends: ``{"id": ..., "messages": [...], "trigger": ..., "messageId": ...}``.

The client sends the whole conversation. Only its last message is read: the agent's memory has the others.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.http import HttpRequest

from ..memory.sessions import require_session_id
from .bodies import read_json
from .errors import ApiError, bad_request

_FIELDS = ("id", "messages", "trigger", "messageId")
_FILES = "chat/ takes no files. Send them as multipart/form-data to stream/ or run/, with the id as session_id."


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """Either the user's text, or decisions about the tool calls that the chat's last run wants to make."""

    session_id: str
    text: str = ""
    approvals: Mapping[str, bool | str] | None = None
    """By the approval's ID: True, False or the reason for denying."""
    tool_calls: tuple[str, ...] = ()
    """IDs of the tool calls that the client's message has."""


def read_chat(request: HttpRequest) -> ChatRequest:
    """Read the body of a chat request. Raises ApiError."""
    body = read_json(request, _FIELDS)
    session_id = body.get("id")
    if not isinstance(session_id, str):
        raise bad_request("id must be a string: the chat's ID.", "id")
    try:
        require_session_id(session_id)
    except ValueError:
        raise bad_request("id must be 1 to 255 printable characters.", "id") from None
    for name in ("trigger", "messageId"):
        if not isinstance(body.get(name, ""), str):
            raise bad_request(f"{name} must be a string.", name)
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages or not isinstance(messages[-1], dict):
        raise _invalid("messages must be a list of messages, with the user's message as the last one.")
    parts = messages[-1].get("parts")
    if not isinstance(parts, list) or not all(isinstance(part, dict) for part in parts):
        raise _invalid("The last message has no list of parts. Send messages in the format of version 5 or later.")
    if messages[-1].get("role") == "user":
        return ChatRequest(session_id, text=_text_of(parts))
    if messages[-1].get("role") == "assistant":
        return _approvals_of(session_id, parts)
    raise _invalid("The last message must have the role user.")


def _text_of(parts: list[dict[str, Any]]) -> str:
    texts = []
    for part in parts:
        if part.get("type") == "file":
            raise _invalid(_FILES)
        if part.get("type") != "text":
            raise _invalid(f"The user's message must have text parts only, not {part.get('type')!r}.")
        if not isinstance(part.get("text"), str):
            raise _invalid("The text of a part must be a string.")
        texts.append(part["text"])
    if not "".join(texts).strip():
        raise _invalid("The user's message has no text.")
    return "\n".join(texts)


def _approvals_of(session_id: str, parts: list[dict[str, Any]]) -> ChatRequest:
    approvals: dict[str, bool | str] = {}
    for part in parts:
        approval = part.get("approval")
        if part.get("state") != "approval-responded" or not isinstance(approval, dict):
            continue
        approval_id, is_approved, reason = (approval.get(key) for key in ("id", "approved", "reason"))
        if not isinstance(approval_id, str) or not isinstance(is_approved, bool):
            raise _invalid("An approval must have an id and approved, which is true or false.")
        denial = reason if isinstance(reason, str) and reason else False
        approvals[approval_id] = True if is_approved else denial
    if not approvals:
        raise _invalid("The last message must be the user's, or answer a tool approval request.")
    calls = tuple(part["toolCallId"] for part in parts if isinstance(part.get("toolCallId"), str))
    return ChatRequest(session_id, approvals=approvals, tool_calls=calls)


def _invalid(message: str) -> ApiError:
    return bad_request(message, "messages")
