"""Which messages of a conversation are stored, and which are sent again: the memory window.

A turn is the user's message, the model's answer, and the tool calls between them. A turn is stored and sent as a
whole, because vendors refuse a tool call without its result and a result without its call.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace

from .. import sanitize
from ..files.file import LLMFile
from ..output import json_reader
from ..types import LLMMessage, ToolRequest

Turn = Sequence[LLMMessage]

_OPENING_ROLES = {"user", "system"}
_MAX_NAME_CHARS = 64
_SENDABLE_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_ESCAPED_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")
_NOT_SENDABLE = re.compile(r"[^A-Za-z0-9_-]")


@dataclass(frozen=True, slots=True)
class Window:
    """The messages of a conversation that are sent again."""

    messages: tuple[LLMMessage, ...]
    is_full: bool
    """Whether the window has as many turns as allowed, so that older messages would not change it."""


def cut_window(messages: Iterable[LLMMessage], max_turns: int, *, is_from_start: bool = True) -> Window:
    """The newest turns of a conversation, oldest first, at most ``max_turns``, in a form that every vendor accepts.

    A turn without an answer is neither sent nor counted. ``is_from_start`` says that ``messages`` begin at the
    start of the conversation. Otherwise the first turn may be incomplete and is left out.
    """
    turns = _turns(messages)[0 if is_from_start else 1 :]
    sendable = [turn for turn in map(_sendable_turn, turns) if turn]
    newest = sendable[-max_turns:] if max_turns > 0 else []
    return Window(tuple(message for turn in newest for message in turn), is_full=len(newest) >= max_turns)


def turn_to_store(turn: Turn, *, excluded_tools: Collection[str] = ()) -> tuple[LLMMessage, ...]:
    """The turn as it is stored: text only, with a placeholder for each file.

    Calls of ``excluded_tools`` and their results are left out. Text that the model wrote beside a call stays.
    """
    return tuple(map(_without_files, _without_tools(turn, excluded_tools)))


def _without_files(message: LLMMessage) -> LLMMessage:
    if not message.files:
        return message
    lines = [message.content, *map(_placeholder, message.files)]
    return replace(message, content="\n".join(line for line in lines if line), files=())


def _placeholder(file: LLMFile) -> str:
    name = "".join(char if char.isprintable() else " " for char in file.filename) if file.has_name else ""
    return f"[file: attachment] {name}".rstrip()


def _without_tools(turn: Turn, excluded_tools: Collection[str]) -> list[LLMMessage]:
    messages = []
    excluded_ids: set[str] = set()  # only of the last message with calls: the next may use the same ids
    for message in turn:
        if message.role == "tool" and message.tool_call_id in excluded_ids:
            continue
        if message.role == "assistant":
            excluded_ids = {call.id for call in message.tool_calls if call.name in excluded_tools}
        calls = tuple(call for call in message.tool_calls if call.id not in excluded_ids)
        if message.tool_calls and not calls and not message.content:
            continue
        messages.append(replace(message, tool_calls=calls))
    return messages


def _turns(messages: Iterable[LLMMessage]) -> list[list[LLMMessage]]:
    """Split a conversation into turns: a user or system message after an answer opens the next one."""
    turns: list[list[LLMMessage]] = []
    for message in messages:
        opens_turn = message.role in _OPENING_ROLES and turns and turns[-1][-1].role not in _OPENING_ROLES
        if not turns or opens_turn:
            turns.append([])
        turns[-1].append(message)
    return turns


def _sendable_turn(turn: Turn) -> tuple[LLMMessage, ...]:
    """The turn from a user message to an answer, each call followed by its result. Empty without an answer."""
    messages = _merge_same_roles(_with_matched_calls(turn))
    first = next((i for i, message in enumerate(messages) if message.role == "user"), len(messages))
    # Before the first user message only system messages may stand: Anthropic takes those separately.
    messages = [message for message in messages[:first] if message.role == "system"] + messages[first:]
    return tuple(messages) if messages and messages[-1].role == "assistant" else ()


def _with_matched_calls(turn: Turn) -> list[LLMMessage]:
    """The turn without calls that lack a result, results that do not follow their call, and empty messages."""
    messages: list[LLMMessage] = []
    for position, message in enumerate(turn):
        if message.role == "tool":
            continue  # added after its call
        results = _results_after(turn, position)
        calls = {call.id: sendable_call(call) for call in reversed(message.tool_calls) if call.id in results}
        text = message.content if message.content.strip() else ""
        if calls or text:
            ordered = tuple(reversed(calls.values()))
            messages.append(replace(message, content=text, tool_calls=ordered))
            messages.extend(results[call.id] for call in ordered)
    return messages


def sendable_call(call: ToolRequest) -> ToolRequest:
    """The call as vendors accept it in a conversation: a name of plain characters, arguments that are an object."""
    name = call.name
    if not _SENDABLE_NAME.fullmatch(name):
        name = _NOT_SENDABLE.sub("_", name)[:_MAX_NAME_CHARS] or "unknown"
    try:
        value = json_reader.load(call.arguments)
    except ValueError:
        value = None
    if not isinstance(value, dict):
        return replace(call, name=name, arguments="{}")
    arguments = sanitize.sendable(call.arguments)
    if _ESCAPED_SURROGATE.search(arguments):  # a vendor that decodes it cannot encode it again
        arguments = sanitize.document(value)
    return replace(call, name=name, arguments=arguments)


def _results_after(turn: Turn, position: int) -> dict[str, LLMMessage]:
    """The results directly after a message, by the id of their call."""
    results: dict[str, LLMMessage] = {}
    for message in turn[position + 1 :]:
        if message.role != "tool":
            break
        results.setdefault(message.tool_call_id, message)
    return results


def _merge_same_roles(messages: Iterable[LLMMessage]) -> list[LLMMessage]:
    """Merge consecutive messages of one role: some vendors require alternating roles."""
    merged: list[LLMMessage] = []
    for message in messages:
        last = merged[-1] if merged else None
        if last is not None and last.role == message.role and message.role != "tool" and not last.tool_calls:
            text = "\n\n".join(text for text in (last.content, message.content) if text)
            merged[-1] = replace(message, content=text)
        else:
            merged.append(message)
    return merged
