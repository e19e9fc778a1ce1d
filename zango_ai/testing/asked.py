"""What an agent asked its model, in one call."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..files.file import LLMFile
from ..types import LLMMessage, ModelRequest


@dataclass(frozen=True, slots=True)
class AskedRequest:
    """One request to the model, as it would have been sent to the provider."""

    request: ModelRequest
    agent_name: str
    """``""`` for a direct call of a provider."""
    provider_name: str
    provider_kind: str
    is_streamed: bool

    @property
    def messages(self) -> tuple[LLMMessage, ...]:
        """All messages: the system prompt, the conversation, tool calls and their results."""
        return self.request.messages

    @property
    def system(self) -> str:
        """The system prompt, rendered; ``""`` if there is none."""
        return "\n\n".join(message.content for message in self.messages if message.role == "system")

    @property
    def input(self) -> str:
        """The text of the last user message; ``""`` if there is none."""
        return next((message.content for message in reversed(self.messages) if message.role == "user"), "")

    @property
    def tools(self) -> list[str]:
        """The names of the tools that the model may call."""
        return [tool.name for tool in self.request.tools]

    @property
    def tool_results(self) -> list[str]:
        """The results of tool calls that the request ends with, as the model reads them."""
        results: list[str] = []
        for message in reversed(self.messages):
            if message.role != "tool":
                break
            results.insert(0, message.content)
        return results

    @property
    def files(self) -> tuple[LLMFile, ...]:
        return self.request.files

    @property
    def model(self) -> str:
        return self.request.model

    @property
    def temperature(self) -> float:
        return self.request.temperature

    @property
    def max_tokens(self) -> int:
        return self.request.max_tokens

    @property
    def json_schema(self) -> Mapping[str, Any] | None:
        """The schema of the JSON that is asked for."""
        return self.request.json_schema

    def __str__(self) -> str:
        """A few lines for the messages of failed tests."""
        lines = [f"{self.model} at provider {self.provider_name!r}, {_named('tool', self.tools)}"]
        if self.files:
            lines[0] += f", {_named('file', [file.filename or file.media_type for file in self.files])}"
        return "\n".join([*lines, *(f"  {_shown_message(message)}" for message in self.messages)])


def _shown_message(message: LLMMessage) -> str:
    text = message.content if len(message.content) <= 300 else f"{message.content[:297]}..."
    called = [f"{call.name}({call.arguments})" for call in message.tool_calls]
    return f"{message.role}: {' '.join([*([text] if text or not called else []), *called])}"


def _named(noun: str, names: list[str]) -> str:
    return f"{noun}s: {', '.join(names)}" if names else f"no {noun}s"
