"""Read from the log what a run has sent, to send it again."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from .. import tenancy
from ..exceptions import RunNotFound, RunNotReplayable
from ..ledger import stored_runs
from ..models import Invocation, InvocationRound
from ..providers import json_forms
from ..types import LLMMessage, PromptSpec, ToolSchema
from . import saved_state

_COLUMNS = (
    *("run_id", "status", "agent_id", "payload_removed_at", "error_type", "variables", "system_variables"),
    *("provider_id", "provider_name", "model", "rendered_system_prompt", "rendered_user_prompt"),
    *("system_prompt_name", "system_prompt_version", "user_prompt_name", "user_prompt_version"),
)
_NOT_STORED = re.compile(
    r"\A\[not stored: REDACT |… \[cut: \d+ characters in all\]\Z|… \[too many values for the log\]"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedRun:
    """A run as the log has it, with its first request."""

    row: stored_runs.RunRow
    """With the results of its tool calls."""
    messages: tuple[LLMMessage, ...]
    """System prompt, history and the user's text, with the files. Without instructions about JSON."""
    tools: tuple[ToolSchema, ...]
    parameters: Mapping[str, Any]
    """As they were sent to the provider."""
    provider_id: int | None
    provider_name: str
    model: str
    system_prompt: PromptSpec | None
    """With its rendered text."""
    user_prompt: PromptSpec | None
    """The agent's user prompt, with the text that was sent: it may be the caller's own."""
    variables: Mapping[str, Any] | None
    system_variables: Mapping[str, Any] | None

    @property
    def system_text(self) -> str:
        return "" if self.system_prompt is None else self.system_prompt.content or ""


def read(invocation_id: int) -> RecordedRun:
    """The run of the current tenant. Raises RunNotFound, RunNotReplayable; LLMFileError if a file is gone."""
    schema = tenancy.current_schema()
    columns = Invocation.objects.filter(pk=invocation_id).values(*_COLUMNS).first()
    row = columns and stored_runs.find(schema, columns["run_id"])
    if not (columns and row):
        raise RunNotFound(invocation_id, f"Schema {schema!r} has no invocation {invocation_id}.")
    problem = problem_of(columns)
    if problem:
        raise _refusal(row, problem)
    first = InvocationRound.objects.filter(invocation=invocation_id, number=1)
    request = first.values("request_messages", "request_tools", "request_params").first()
    if request is None:
        reason = f"It sent nothing ({columns['error_type']})." if columns["error_type"] else "It sent nothing."
        raise _refusal(row, reason)
    messages = _complete(row, request["request_messages"])
    return RecordedRun(
        row=row,
        messages=_as_composed(saved_state.restore_messages(schema, row, messages), columns, row.output_schema),
        tools=_tools(row, request["request_tools"]),
        parameters=request["request_params"],
        system_prompt=_prompt(columns, "system"),
        user_prompt=_prompt(columns, "user"),
        **{
            name: columns[name]
            for name in ("provider_id", "provider_name", "model", "variables", "system_variables")
        },
    )


def problem_of(run: Mapping[str, Any]) -> str:
    """Why a run with this ``status``, ``agent_id`` and ``payload_removed_at`` cannot be replayed; else ""."""
    if run["status"] not in Invocation.ENDED:
        return f"Its status is {run['status']}. Wait until it has ended."
    if run["agent_id"] is None:
        return "It called a provider without an agent."
    removed_at = run["payload_removed_at"]
    return "" if removed_at is None else f"Its texts were removed on {removed_at:%Y-%m-%d}."


def _complete(row: stored_runs.RunRow, messages: Any) -> list[Mapping[str, Any]]:
    """The logged messages. Raises RunNotReplayable if the log lacks some of their text."""
    if not (isinstance(messages, list) and messages):
        raise _refusal(row, "Its request was too long for the log.")
    for message in messages:
        if message.get("role") == "removed":
            raise _refusal(row, "Some of the messages that it sent were removed.")
        if any(_NOT_STORED.search(text) for text in _texts(message)):
            raise _refusal(row, "Some of the messages that it sent were not stored, or not in full.")
    return messages


def _texts(message: Mapping[str, Any]) -> Iterable[str]:
    yield message["content"]
    for call in message.get("tool_calls", ()):
        yield call["arguments"]


def _tools(row: stored_runs.RunRow, tools: Any) -> tuple[ToolSchema, ...]:
    if not isinstance(tools, list) or any("name" not in tool for tool in tools):
        raise _refusal(row, "The log no longer has the tools that it sent.")
    return tuple(ToolSchema(tool["name"], tool["description"], tool["parameters"]) for tool in tools)


def _as_composed(
    messages: tuple[LLMMessage, ...], columns: Mapping[str, Any], output_schema: str
) -> tuple[LLMMessage, ...]:
    """The messages as the run composed them, before the provider's instruction about JSON was added."""
    first = messages[0]
    if first.role != "system":
        return messages
    text = columns["rendered_system_prompt"]
    if not text and output_schema == "json":
        text = json_forms.without_instruction(first.content)
    head = (LLMMessage("system", text),) if text else ()
    return (*head, *messages[1:])


def _prompt(columns: Mapping[str, Any], role: str) -> PromptSpec | None:
    name = columns[f"{role}_prompt_name"]
    return PromptSpec(name, columns[f"{role}_prompt_version"], columns[f"rendered_{role}_prompt"]) if name else None


def _refusal(row: stored_runs.RunRow, reason: str) -> RunNotReplayable:
    return RunNotReplayable(row.run_id, f"Invocation {row.invocation_id} cannot be replayed. {reason}")
