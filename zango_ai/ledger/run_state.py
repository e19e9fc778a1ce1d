"""The state from which another process resumes a run that was queued, or that waited for approval.

The state is stored as JSON, and a later release may read it, so it has a version:

- A new field gets a default, here and in ``from_json``, and the version stays. Older releases ignore the field.
- A change that older releases cannot ignore gets a new ``VERSION``, and ``from_json`` converts older states.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any, TypeVar

from ..configuration.overrides import Overrides
from ..tools.approval_decisions import ApprovalDecision
from ..types import ToolRequest

VERSION = 1
"""A state that was stored without a version has version 1."""

_JSON_KEYS = {
    "turn_range": "said",
    "tool_messages": "exchanged",
    "tool_rounds_left": "tool_rounds",
    "output_retries_left": "corrections",
    "session_to_open": "opens",
}
"""Fields whose names in version 1 of the JSON are older than the Python names."""

_Saved = TypeVar("_Saved", "SavedSession", "SessionToOpen")


class StateUnreadable(ValueError):
    """The stored state has a newer version, or is damaged."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedAnswer:
    """The model's answer, some of whose tool calls wait for approval."""

    content: str
    model: str
    tool_calls: tuple[ToolRequest, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedSession:
    """The session that the run has opened."""

    agent_id: int
    session_id: str
    user_ref: str
    generation: int
    is_new: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionToOpen:
    """The session that a queued run opens when it starts."""

    session_id: str
    user_ref: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RunState:
    """Messages have the form of ``transcript.messages_to_json()``, with the SHA-256 of files."""

    messages: Sequence[Mapping[str, Any]]
    """The messages of the next request."""
    turn_range: tuple[int, int]
    """Start and end of the caller's own messages of this turn, in ``messages``."""
    tool_messages: Sequence[Mapping[str, Any]] = ()
    """The tool calls and results of this turn."""
    answer: SavedAnswer | None = None
    tool_rounds_left: int
    output_retries_left: int
    has_used_tools: bool = False
    session: SavedSession | None = None
    session_to_open: SessionToOpen | None = None
    output_json_schema: Mapping[str, Any] | None = None
    """The JSON schema of the ``output_type`` argument; None uses the agent's own."""
    overrides: Overrides = field(default_factory=Overrides)
    calls: Sequence[Sequence[Any]] = ()
    """Arguments and result of each tool call so far, in order, if the log has them only redacted."""
    decisions: Mapping[str, ApprovalDecision] = field(default_factory=dict)
    """What people decided about the answer's pending calls, by their ``uid``, if a worker resumes the run."""
    attempt: int = 0
    """How often a background run was retried."""
    not_before: str | None = None
    """ISO 8601 time before which the run is not retried."""
    stores_chunks: bool = False
    """Whether the run is streamed, and its chunks are stored."""
    trace: Mapping[str, str] = field(default_factory=dict)
    """The OpenTelemetry trace that the run belongs to, as W3C headers."""

    def to_json(self) -> dict[str, Any]:
        values = {_JSON_KEYS.get(name, name): value for name, value in asdict(self).items()}
        return {
            **{"version": VERSION, **values},
            "decisions": {key: decision.to_json() for key, decision in self.decisions.items()},
        }

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> RunState:
        """Raises StateUnreadable."""
        version = stored.get("version", 1)
        if version != VERSION:
            raise StateUnreadable(f"its state has version {version!r}, and this release reads version {VERSION}")
        try:
            return cls(
                messages=tuple(stored["messages"]),
                turn_range=(int(stored["said"][0]), int(stored["said"][1])),
                tool_messages=tuple(stored["exchanged"]),
                answer=_restore_answer(stored["answer"]),
                tool_rounds_left=int(stored["tool_rounds"]),
                output_retries_left=int(stored["corrections"]),
                has_used_tools=bool(stored["has_used_tools"]),
                session=_restore(SavedSession, stored["session"]),
                session_to_open=_restore(SessionToOpen, stored["opens"]),
                output_json_schema=stored["output_json_schema"],
                overrides=Overrides.from_json(stored.get("overrides") or {}),
                calls=tuple(stored.get("calls", ())),
                decisions={
                    key: ApprovalDecision.from_json(each) for key, each in stored.get("decisions", {}).items()
                },
                attempt=int(stored.get("attempt", 0)),
                not_before=stored.get("not_before"),
                stores_chunks=bool(stored.get("stores_chunks", False)),
                trace=dict(stored.get("trace") or {}),
            )
        except (KeyError, IndexError, TypeError, ValueError) as exc:
            raise StateUnreadable(f"its state is damaged ({type(exc).__name__}: {exc})") from exc


def _restore_answer(stored: Mapping[str, Any] | None) -> SavedAnswer | None:
    if stored is None:
        return None
    calls = tuple(ToolRequest(call["id"], call["name"], call["arguments"]) for call in stored["tool_calls"])
    return SavedAnswer(content=stored["content"], model=stored["model"], tool_calls=calls)


def _restore(kind: type[_Saved], stored: Mapping[str, Any] | None) -> _Saved | None:
    """A dataclass from its stored fields, without those that this release does not know."""
    if stored is None:
        return None
    names = {each.name for each in fields(kind)}
    return kind(**{name: value for name, value in stored.items() if name in names})
