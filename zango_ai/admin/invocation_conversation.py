"""A run as a conversation: what was sent and answered, each text once.

Each round sends all messages of the round before and some more. Only those that are new are shown.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..models import Invocation, InvocationRound, ToolCall

_MOST_SHOWN = 6
"""More messages of a caller, before the last one of the user, are folded."""

Message = dict[str, Any]


@dataclass(slots=True)
class Item:
    """One bubble, or the tool calls of one round."""

    role: str
    """``system``, ``user``, ``assistant``, ``tool``, ``calls``, ``error``, or ``removed`` for a deleted text."""
    text: str = ""
    round: int = 1
    files: Sequence[str] = ()
    calls: Sequence[Any] = ()
    title: str = ""
    is_answer: bool = False
    is_added: bool = False
    """Whether a later round has sent it in addition to what the first one sent."""

    @property
    def is_json(self) -> bool:
        """Whether the text is a JSON object or list, so that it is shown as a document."""
        if not self.text.lstrip().startswith(("{", "[")):
            return False
        try:
            json.loads(self.text)
        except (ValueError, RecursionError):
            return False
        return True


@dataclass(slots=True)
class Conversation:
    system: str = ""
    history: list[Item] = field(default_factory=list)
    """Earlier messages, from memory or from the caller."""
    items: list[Item] = field(default_factory=list)


def read(run: Invocation, rounds: Sequence[InvocationRound]) -> Conversation:
    """The conversation with its texts. The rounds have their tool calls prefetched."""
    if not rounds:
        asked = [Item("user", run.rendered_user_prompt)] if run.rendered_user_prompt else []
        return Conversation(run.rendered_system_prompt, items=asked)
    system, sent = _split(rounds[0].request_messages)
    history, asked = _set_apart(run, sent)
    conversation = Conversation(system, history, asked)
    known = _Known()
    for number, round_ in enumerate(rounds):
        if number:
            before = rounds[number - 1].request_messages
            conversation.items += _added(before, round_, known)
        known.add(round_)
        conversation.items += _answered(round_, is_last=number == len(rounds) - 1)
    if run.response_content and run.response_content not in known.answers:
        conversation.items.append(Item("assistant", run.response_content, len(rounds), is_answer=True))
    return conversation


def outline(run: Invocation, rounds: Iterable[InvocationRound]) -> Conversation:
    """The conversation without any text: who said something, and which tools were called."""
    items = [Item("user")]
    for round_ in rounds:
        if calls := list(round_.tool_calls.all()):
            items.append(Item("calls", round=round_.number, calls=calls))
        if round_.error_type:
            items.append(Item("error", title=round_.error_type, round=round_.number))
    if run.status == Invocation.Status.SUCCESS:
        items.append(Item("assistant", is_answer=True))
    return Conversation(items=items)


class _Known:
    """What the page shows already: answers, and tool calls with their results."""

    def __init__(self) -> None:
        self.answers: set[str] = set()
        self._calls: set[str] = set()

    def add(self, round_: InvocationRound) -> None:
        if round_.response_content:
            self.answers.add(round_.response_content)
        self._calls.update(str(call.get("id")) for call in _dicts(round_.response_tool_calls))
        self._calls.update(call.call_id for call in round_.tool_calls.all())

    def has(self, message: Message) -> bool:
        calls = _dicts(message.get("tool_calls"))
        if message.get("role") == "tool":
            return str(message.get("tool_call_id")) in self._calls
        if message.get("role") != "assistant":
            return False
        if calls:
            return all(str(call.get("id")) in self._calls for call in calls)
        return message.get("content") in self.answers


def _split(messages: Any) -> tuple[str, list[Message]]:
    """The system prompt, and the other messages. A list that was too long for the log is a note instead."""
    rows = _dicts(messages)
    system = [str(row.get("content") or "") for row in rows if row.get("role") == "system"]
    return "\n\n".join(system), [row for row in rows if row.get("role") != "system"]


def _set_apart(run: Invocation, sent: list[Message]) -> tuple[list[Item], list[Item]]:
    """The earlier messages, and those of this run."""
    last = max((index for index, row in enumerate(sent) if row.get("role") == "user"), default=0)
    if run.session_id is None and last < _MOST_SHOWN:
        last = 0
    items = [_item(row) for row in sent]
    return items[:last], items[last:]


def _added(before: Any, round_: InvocationRound, known: _Known) -> list[Item]:
    """What the round has sent beyond the round before, without what is shown already."""
    old_system, old = _split(before)
    system, new = _split(round_.request_messages)
    same = 0
    while same < min(len(old), len(new)) and old[same] == new[same]:
        same += 1
    rows = [row for row in new[same:] if not known.has(row)]
    changed = [Item("system", system, round_.number, is_added=True)] if system != old_system else []
    return changed + [_item(row, round_.number, is_added=True) for row in rows]


def _answered(round_: InvocationRound, *, is_last: bool) -> list[Item]:
    calls: list[ToolCall] = list(round_.tool_calls.all())
    items = []
    if round_.response_content:
        is_answer = is_last and not calls
        items.append(Item("assistant", round_.response_content, round_.number, is_answer=is_answer))
    if calls:
        items.append(Item("calls", round=round_.number, calls=calls))
    if round_.error_type:
        items.append(Item("error", round_.error_message, round_.number, title=round_.error_type))
    return items


def _item(row: Message, number: int = 1, *, is_added: bool = False) -> Item:
    files = tuple(str(file.get("filename") or file.get("url") or "") for file in _dicts(row.get("files")))
    names = [str(call.get("name")) for call in _dicts(row.get("tool_calls"))]
    return Item(
        str(row.get("role") or ""),
        str(row.get("content") or ""),
        number,
        files,
        title=", ".join(names),
        is_added=is_added,
    )


def _dicts(value: Any) -> list[Message]:
    return [row for row in value if isinstance(row, dict)] if isinstance(value, list) else []
