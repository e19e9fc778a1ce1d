"""Scripted replies and recorded requests of the local model server."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from typing import Any

from .steps import Answer, Failure
from .tool_call import Call


@dataclass(frozen=True, slots=True)
class Reply:
    """One scripted reply."""

    text: str | None = None
    """None: "ok", or no text if there are ``calls``."""
    _: KW_ONLY
    calls: Sequence[Call] = ()
    """Tool calls, sent in this order after ``text``."""
    delay_s: float = 0.0
    """Wait this long before replying."""
    status: int = 200
    """A status other than 200 sends the vendor's error with ``text`` as its message."""
    headers: Mapping[str, str] = field(default_factory=dict)
    finish_reason: str = "stop"
    """OpenAI's term: ``stop``, ``length`` or ``content_filter``. Other vendors get their own. With ``calls``,
    ``stop`` becomes ``tool_calls``."""
    input_tokens: int | None = None
    """None: estimated from the request, one token per four characters. Includes cached tokens."""
    output_tokens: int | None = None
    """None: estimated from the text and the calls."""
    cache_read_tokens: int = 0
    cache_creation_tokens: int = 0
    reasoning_tokens: int = 0
    """Included in the output tokens."""
    raw: bytes | None = None
    """Sent as the body of the response instead of the vendor's JSON."""
    hang_up: bool = False
    """Close the connection without a response."""
    hang_up_after: bool = False
    """Close the connection after the response, even if its headers announce more."""
    trickle_s: float = 0.0
    """Send one byte at a time (in a stream: one event), with this pause, to simulate a stalled server."""
    pieces: Sequence[str] | None = None
    """The pieces of the text in a stream. None: one piece per word."""
    sends_usage: bool = True
    """False: the stream reports no token usage."""
    breaks_after: int | None = None
    """Close the connection of a stream after this many events."""
    stalls_after: int | None = None
    """Send nothing more after this many events of a stream, until the client closes the connection."""
    fails_after: int | None = None
    """End a stream with the vendor's error after this many events."""

    def __post_init__(self) -> None:
        if not isinstance(self.text, str | None):
            raise TypeError(
                f"Reply() takes its text as a str, not {type(self.text).__name__}. For JSON, pass json.dumps(...)"
            )

    @classmethod
    def of(cls, value: object, taker: str) -> Reply:
        """``value``, a str, a Reply or a step, as a reply. Else raises TypeError; ``taker`` begins the message."""
        if isinstance(value, Reply):
            return value
        if isinstance(value, str):
            return cls(value)
        if isinstance(value, Answer | Failure):
            from .server_steps import as_reply

            return as_reply(value)
        raise TypeError(
            f"{taker} str, Reply, says(), calls() and fails(), not {type(value).__name__}. For JSON, use says()."
        )

    @property
    def sent_text(self) -> str:
        """The text that the server sends."""
        return ("" if self.calls else "ok") if self.text is None else self.text


@dataclass(frozen=True, slots=True)
class SeenRequest:
    """A recorded request. Header names are in lower case."""

    path: str
    headers: Mapping[str, str]
    body: Mapping[str, Any]
    raw: bytes = field(default=b"", repr=False)
    """The body, unparsed."""
