"""The base class of the vendors, and the helpers that their modules share."""

from __future__ import annotations

import json
import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..tool_call import Call

Body = Mapping[str, Any]
"""The JSON body of a request."""
MODELS = ("stand-in-large", "stand-in-small")
"""The models that the server lists."""
SERVER_SENT_EVENTS = "text/event-stream"
_ARGUMENT_PIECES = 3


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer of the model, independent of any vendor."""

    text: str
    calls: tuple[Call, ...]
    finish_reason: str
    """OpenAI's term: ``stop``, ``length``, ``content_filter`` or ``tool_calls``."""
    input_tokens: int
    """All tokens of the request, cached ones included."""
    output_tokens: int
    """All tokens of the answer, reasoning included."""
    cache_read_tokens: int
    cache_creation_tokens: int
    reasoning_tokens: int


class Vendor(ABC):
    """A vendor's API: reads requests, and writes answers, streams, errors and lists of models in its format."""

    media_type = SERVER_SENT_EVENTS
    """The media type of a streamed answer."""

    @abstractmethod
    def texts(self, body: Body) -> Iterator[tuple[str, str]]:
        """The role and the text of each message in a request."""

    @abstractmethod
    def tool_items(self, body: Body) -> Iterator[Any]:
        """The tools, tool calls and tool results in a request."""

    @abstractmethod
    def refusal(self, body: Body) -> str | None:
        """The vendor's error message for an invalid request; None if the request is valid."""

    @abstractmethod
    def response(self, body: Body, answer: Answer) -> dict[str, Any]:
        """The body of the response."""

    def is_streamed(self, path: str, body: Body) -> bool:
        """Whether the client asks for a stream."""
        return body.get("stream") is True

    @abstractmethod
    def stream(self, body: Body, answer: Answer, pieces: Sequence[str], *, has_usage: bool) -> Iterator[bytes]:
        """The answer as events, one at a time. ``pieces`` are the pieces of its text."""

    def stream_error(self, message: str) -> bytes:
        """The event of an error in the middle of a stream."""
        return sse_data(self.error(500, message))

    @abstractmethod
    def error(self, status: int, message: str) -> dict[str, Any]:
        """The body of an error response."""

    def models(self) -> dict[str, Any]:
        """The list of models. Empty for a vendor that does not list models at its chat API."""
        return {}


def message_texts(body: Body) -> Iterator[tuple[str, str]]:
    """Role and text of each message, for vendors that call the list ``messages``."""
    for message in mappings(body.get("messages")):
        yield message.get("role", ""), text_of(message.get("content"))


def text_of(content: Any) -> str:
    """The text of a message's content, which is a string or a list of blocks."""
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        return "\n".join(str(block.get("text", "")) for block in content if isinstance(block, Mapping))
    return ""


def mappings(value: Any) -> list[Mapping[str, Any]]:
    """The objects in a list from a request; empty if it is not a list."""
    return [item for item in value if isinstance(item, Mapping)] if isinstance(value, list) else []


def text_block(answer: Answer, block: dict[str, Any]) -> list[dict[str, Any]]:
    """The block of the answer's text; none if there are only tool calls."""
    return [block] if answer.text or not answer.calls else []


def invalid_name(names: Iterable[Any], max_length: int) -> Any:
    """The first invalid tool name, "" for a missing one; None if all are valid."""
    pattern = re.compile(rf"[a-zA-Z0-9_-]{{1,{max_length}}}")
    return next(("" if n is None else n for n in names if not isinstance(n, str) or not pattern.fullmatch(n)), None)


def split_arguments(text: str) -> list[str]:
    """The pieces in which the arguments of a tool call are streamed."""
    size = max(1, -(-len(text) // _ARGUMENT_PIECES))
    return [text[start : start + size] for start in range(0, len(text), size)]


def sse_data(document: Any) -> bytes:
    """A server-sent event without a name."""
    return b"data: " + json.dumps(document).encode() + b"\n\n"
