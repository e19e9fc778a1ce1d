"""What the local model server is told to answer, and what it has been sent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from typing import Any

from .calls import Call


@dataclass(frozen=True, slots=True)
class Reply:
    """One scripted answer."""

    text: str | None = None
    """None: "ok", or nothing beside calls."""
    _: KW_ONLY
    calls: Sequence[Call] = ()
    """The tools that the model wants to have called, in this order; ``text`` goes before them."""
    delay_s: float = 0.0
    """How long the server thinks before it says anything."""
    status: int = 200
    """Any other than 200 answers with the vendor's error of that status; ``text`` is its message."""
    headers: Mapping[str, str] = field(default_factory=dict)
    finish_reason: str = "stop"
    """OpenAI's word: ``stop``, ``length`` or ``content_filter``; put into Anthropic's where that is spoken. With
    ``calls``, ``stop`` is ``tool_calls``."""
    input_tokens: int | None = None
    """None: counted from the request, a token for four characters. Cached tokens are part of it."""
    output_tokens: int | None = None
    """None: counted from the text and the calls."""
    cache_read_tokens: int = 0
    cache_creation_tokens: int = 0
    reasoning_tokens: int = 0
    """Part of the output tokens."""
    raw: bytes | None = None
    """Sent as the body, whatever the protocol says."""
    hang_up: bool = False
    """Close the connection without an answer."""
    hang_up_after: bool = False
    """Close the connection after the answer, also where it promised more."""
    trickle_s: float = 0.0
    """Pause after each byte of the body; in a stream, after each event."""
    pieces: Sequence[str] | None = None
    """How the text is cut in a stream. None: a word in each piece."""
    sends_usage: bool = True
    """False: a stream that says nothing of tokens."""
    breaks_after: int | None = None
    """Hang up in a stream after so many events."""
    stalls_after: int | None = None
    """Fall silent in a stream after so many events, until the client hangs up."""
    fails_after: int | None = None
    """Break a stream off with the vendor's error after so many events."""

    @property
    def words(self) -> str:
        """The text that is sent."""
        return ("" if self.calls else "ok") if self.text is None else self.text


@dataclass(frozen=True, slots=True)
class SeenRequest:
    """What a client sent. ``headers`` are named in lower case."""

    path: str
    headers: Mapping[str, str]
    body: Mapping[str, Any]
    raw: bytes = field(default=b"", repr=False)
    """The body as it came."""
