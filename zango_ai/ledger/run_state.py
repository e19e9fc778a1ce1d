"""What a run needs to go on in another process: the state of a queued run, or of one that waits for approval.

The state is stored as JSON and may be read by a later release, so it has a version:

- A new field gets a default, here and in ``from_json``, and the version stays. Older releases ignore the field.
- A change that older releases must not read past gets a new ``VERSION``, and ``from_json`` converts older states.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any, TypeVar

from ..configuration.overrides import Overrides
from ..types import ToolRequest

VERSION = 1
"""States that were stored without a version are of version 1."""


_Saved = TypeVar("_Saved", "SavedSession", "SessionToOpen", Overrides)


class StateUnreadable(ValueError):
    """The stored state is of a newer version, or damaged."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedAnswer:
    """The model's answer whose tool calls are not all made yet."""

    content: str
    model: str
    tool_calls: tuple[ToolRequest, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedSession:
    """The conversation that the run has opened."""

    agent_id: int
    session_id: str
    user_ref: str
    generation: int
    is_new: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionToOpen:
    """The conversation that a queued run opens when it begins."""

    session_id: str
    user_ref: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RunState:
    """Where a run stands. Messages are as ``transcript.messages_to_json()`` gives them: files by their SHA-256."""

    messages: Sequence[Mapping[str, Any]]
    """The next request's messages."""
    said: tuple[int, int]
    """Start and end of what the caller says in this turn, among ``messages``."""
    exchanged: Sequence[Mapping[str, Any]] = ()
    """The tool calls of this turn so far, with their results."""
    answer: SavedAnswer | None = None
    tool_rounds: int
    """How many rounds of tool calls are left."""
    corrections: int
    """How many output retries are left."""
    has_used_tools: bool = False
    session: SavedSession | None = None
    opens: SessionToOpen | None = None
    output_json_schema: Mapping[str, Any] | None = None
    """The schema of this call's ``output_type``; None: the agent's own."""
    overrides: Overrides = field(default_factory=Overrides)
    attempt: int = 0
    """How many times a run in the background has been retried."""
    not_before: str | None = None
    """ISO 8601 time before which it is not retried."""

    def to_json(self) -> dict[str, Any]:
        return {"version": VERSION, **asdict(self)}

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> RunState:
        """Raises StateUnreadable."""
        version = stored.get("version", 1)
        if version != VERSION:
            raise StateUnreadable(f"its state is of version {version!r}, and this release reads version {VERSION}")
        try:
            return cls(
                messages=tuple(stored["messages"]),
                said=(int(stored["said"][0]), int(stored["said"][1])),
                exchanged=tuple(stored["exchanged"]),
                answer=_answer(stored["answer"]),
                tool_rounds=int(stored["tool_rounds"]),
                corrections=int(stored["corrections"]),
                has_used_tools=bool(stored["has_used_tools"]),
                session=_known(SavedSession, stored["session"]),
                opens=_known(SessionToOpen, stored["opens"]),
                output_json_schema=stored["output_json_schema"],
                overrides=_known(Overrides, stored.get("overrides")) or Overrides(),
                attempt=int(stored.get("attempt", 0)),
                not_before=stored.get("not_before"),
            )
        except (KeyError, IndexError, TypeError, ValueError) as exc:
            raise StateUnreadable(f"its state is damaged ({type(exc).__name__}: {exc})") from exc


def _answer(stored: Mapping[str, Any] | None) -> SavedAnswer | None:
    if stored is None:
        return None
    calls = tuple(ToolRequest(call["id"], call["name"], call["arguments"]) for call in stored["tool_calls"])
    return SavedAnswer(content=stored["content"], model=stored["model"], tool_calls=calls)


def _known(kind: type[_Saved], stored: Mapping[str, Any] | None) -> _Saved | None:
    """A dataclass of the fields that this release knows."""
    if stored is None:
        return None
    known = {each.name for each in fields(kind)}
    return kind(**{name: value for name, value in stored.items() if name in known})
