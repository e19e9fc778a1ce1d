"""The messages of a conversation."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, get_args

from .. import argument_checks
from ..files.file import LLMFile

Role = Literal["system", "user", "assistant", "tool"]
ROLES: tuple[str, ...] = get_args(Role)


@dataclass(frozen=True, slots=True)
class ToolRequest:
    """A tool call that the model asks for."""

    id: str
    name: str
    arguments: str
    """JSON as the model wrote it. It may be invalid."""


@dataclass(frozen=True, slots=True)
class LLMMessage:
    """One message of a conversation, as passed to ``run(messages=[...])``."""

    role: Role
    content: str
    tool_calls: tuple[ToolRequest, ...] = ()
    """In an assistant message: the tool calls that it asks for. A ``tool`` message answers each of them."""
    tool_call_id: str = ""
    """In a ``tool`` message: the id of the call that it answers."""
    files: tuple[LLMFile, ...] = ()
    """Sent before the text."""

    @property
    def texts(self) -> Iterator[str]:
        """All text in the message that is sent."""
        yield self.content
        for call in self.tool_calls:
            yield f"{call.name} {call.arguments}"

    def __post_init__(self) -> None:
        argument_checks.require(self.role, str, "LLMMessage.role", "it as a str")
        if self.role not in ROLES:
            raise ValueError(f"LLMMessage.role is {self.role!r}; use one of {', '.join(ROLES)}.")
        argument_checks.require(self.content, str, "LLMMessage.content", "the text as a str")
        argument_checks.require(self.tool_call_id, str, "LLMMessage.tool_call_id", "the id as a str")
        if self.tool_calls != ():
            calls = argument_checks.as_tuple(self.tool_calls, ToolRequest, "LLMMessage.tool_calls")
            object.__setattr__(self, "tool_calls", calls)
        if self.files != ():
            object.__setattr__(self, "files", argument_checks.as_tuple(self.files, LLMFile, "LLMMessage.files"))
