"""A conversation's memory: what of a turn is kept, and what of the kept turns is sent.

A turn is what the caller said, what the model answered, and the tool calls between. It is kept and sent as a whole:
a vendor refuses a tool call without its result and a result without its call.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace

from .. import sanitize
from ..files.file import LLMFile
from ..output import reading
from ..types import LLMMessage, ToolRequest

Turn = Sequence[LLMMessage]

_ASKING = {"user", "system"}
_MOST_NAME_CHARS = 64
_SENDABLE_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_HALF_A_SIGN = re.compile(r"\\u[dD][89a-fA-F]")
_NOT_SENDABLE = re.compile(r"[^A-Za-z0-9_-]")


def kept(turn: Turn, *, excluded_tools: Collection[str] = ()) -> tuple[LLMMessage, ...]:
    """What of a turn is remembered: text, with a placeholder for each file.

    Calls of ``excluded_tools`` go with their results; the text that a model said beside a call stays.
    """
    return tuple(map(_without_files, _without(turn, excluded_tools)))


def _without_files(message: LLMMessage) -> LLMMessage:
    lines = [message.content, *map(_placeholder, message.files)]
    return (
        replace(message, content="\n".join(line for line in lines if line), files=()) if message.files else message
    )


def _placeholder(file: LLMFile) -> str:
    name = "".join(char if char.isprintable() else " " for char in file.filename) if file.has_name else ""
    return f"[file: attachment] {name}".rstrip()


def _without(turn: Turn, tools: Collection[str]) -> list[LLMMessage]:
    messages = []
    dropped: set[str] = set()  # of the last message with calls: the next may use the same ids
    for message in turn:
        if message.role == "tool" and message.tool_call_id in dropped:
            continue
        if message.role == "assistant":
            dropped = {call.id for call in message.tool_calls if call.name in tools}
        calls = tuple(call for call in message.tool_calls if call.id not in dropped)
        if message.tool_calls and not calls and not message.content:
            continue
        messages.append(replace(message, tool_calls=calls))
    return messages


@dataclass(frozen=True, slots=True)
class Window:
    """What is sent of a conversation."""

    messages: tuple[LLMMessage, ...]
    is_full: bool
    """Whether it holds as many turns as it may, so that older messages change nothing."""


def window(messages: Iterable[LLMMessage], pairs: int, *, is_beginning: bool = True) -> Window:
    """The newest turns, no more than ``pairs`` of them, oldest first, fit to be sent.

    A turn goes from what the user says to the answer; one without an answer is not sent, and not counted.
    ``is_beginning``: no older messages exist. Else the first turn is left out, since it may not be whole.
    """
    turns = _turns(messages)[0 if is_beginning else 1 :]
    fit = [each for each in map(_fit, turns) if each]
    sent = fit[-pairs:] if pairs > 0 else []
    return Window(tuple(message for each in sent for message in each), is_full=len(sent) >= pairs)


def _turns(messages: Iterable[LLMMessage]) -> list[list[LLMMessage]]:
    """One begins where the user, or the system, speaks again."""
    turns: list[list[LLMMessage]] = []
    for message in messages:
        speaks_again = message.role in _ASKING and turns and turns[-1][-1].role not in _ASKING
        if not turns or speaks_again:
            turns.append([])
        turns[-1].append(message)
    return turns


def _fit(turn: Turn) -> tuple[LLMMessage, ...]:
    """The turn as every vendor takes it: from the user to an answer, each call with its results; else nothing."""
    messages = _joined(_paired(turn))
    first = next((i for i, message in enumerate(messages) if message.role == "user"), len(messages))
    # What stands before the user's first words is the system's, or nothing: Anthropic takes system prompts apart.
    messages = [message for message in messages[:first] if message.role == "system"] + messages[first:]
    return tuple(messages) if messages and messages[-1].role == "assistant" else ()


def _paired(turn: Turn) -> list[LLMMessage]:
    """Without calls that lack a result, results that lack a call right before them, and empty messages."""
    messages: list[LLMMessage] = []
    for position, message in enumerate(turn):
        if message.role == "tool":
            continue  # taken with its call
        results = _results_after(turn, position)
        calls = {call.id: sendable_call(call) for call in reversed(message.tool_calls) if call.id in results}
        text = message.content if message.content.strip() else ""
        if calls or text:
            ordered = tuple(reversed(calls.values()))
            messages.append(replace(message, content=text, tool_calls=ordered))
            messages.extend(results[call.id] for call in ordered)
    return messages


def sendable_call(call: ToolRequest) -> ToolRequest:
    """The call as it can be sent again: vendors refuse names of other signs, and arguments that are no object."""
    name = call.name
    if not _SENDABLE_NAME.fullmatch(name):
        name = _NOT_SENDABLE.sub("_", name)[:_MOST_NAME_CHARS] or "unknown"
    try:
        value = reading.load(call.arguments)
    except ValueError:
        value = None
    if not isinstance(value, dict):
        return replace(call, name=name, arguments="{}")
    arguments = sanitize.sendable(call.arguments)
    if _HALF_A_SIGN.search(arguments):  # who reads it into a text cannot write it again
        arguments = sanitize.document(value)
    return replace(call, name=name, arguments=arguments)


def _results_after(turn: Turn, position: int) -> dict[str, LLMMessage]:
    results: dict[str, LLMMessage] = {}
    for message in turn[position + 1 :]:
        if message.role != "tool":
            break
        results.setdefault(message.tool_call_id, message)
    return results


def _joined(messages: Iterable[LLMMessage]) -> list[LLMMessage]:
    """Messages of one role that stand together as one: some vendors want them to take turns."""
    joined: list[LLMMessage] = []
    for message in messages:
        before = joined[-1] if joined else None
        if before is not None and before.role == message.role and message.role != "tool" and not before.tool_calls:
            text = "\n\n".join(text for text in (before.content, message.content) if text)
            joined[-1] = replace(message, content=text)
        else:
            joined.append(message)
    return joined
