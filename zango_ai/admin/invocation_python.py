"""A run as a call in Python that repeats it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pprint import pformat
from typing import Any

from ..models import Invocation, InvocationFile, InvocationRound

Message = dict[str, Any]


def call(run: Invocation, first: InvocationRound | None, files: Sequence[InvocationFile]) -> str:
    """``get_agent(...).run(...)`` with the arguments of the run, as far as the log has them.

    Comments above it name what the call does not repeat.
    """
    sent = first.request_messages if first else []
    messages = [row for row in sent if isinstance(row, dict)] if isinstance(sent, list) else []
    if run.agent_name and run.rendered_system_prompt and messages and messages[0].get("role") == "system":
        messages = messages[1:]  # the agent adds it again
    lines = []
    for name, value in _arguments(run, first, messages, files):
        text = value if isinstance(value, _Code) else pformat(value, width=88, sort_dicts=False)
        lines.append("    " + f"{name}={text}".replace("\n", "\n" + " " * (5 + len(name))) + ",")
    start = f"get_agent({run.agent_name!r}).run("
    if not run.agent_name:
        start = f"get_provider({run.provider_name!r}).complete("
    imports = [f"from zango_ai import {start.partition('(')[0]}"]
    imports += [f"from zango_ai import {name}" for name in ("LLMFile", "LLMMessage") if _uses(lines, name)]
    imports += ["from zango_ai.types import ToolRequest"] if _uses(lines, "ToolRequest") else []
    notes = [f"# {note}" for note in _not_repeated(run, messages)]
    return "\n".join([*imports, "", *notes, f"response = {start}", *lines, ")"])


class _Code(str):
    """Python source, where other values are shown by their repr."""

    __slots__ = ()


def _uses(lines: Iterable[str], name: str) -> bool:
    return any(f"{name}(" in line or f"{name}." in line for line in lines)


def _arguments(
    run: Invocation, first: InvocationRound | None, messages: Sequence[Message], files: Sequence[InvocationFile]
) -> Iterator[tuple[str, Any]]:
    if _has_messages(run, messages):
        own = messages if run.session_id is None else messages[-1:]
        yield "messages", _Code("[" + ",\n ".join(map(_message, own)) + "]")
    elif run.variables is not None:
        yield "variables", run.variables
    elif run.rendered_user_prompt:
        yield "input", run.rendered_user_prompt
    if run.system_variables is not None:
        yield "system_variables", run.system_variables
    if files and run.agent_name:
        yield "files", _Code("[" + ",\n ".join(map(_file, files)) + "]")
    yield from _settings(run, first)
    for name in ("session_id", "user_ref", "triggered_by"):
        if (value := getattr(run, name)) and (run.agent_name or name != "session_id"):
            yield name, str(value)


def _has_messages(run: Invocation, messages: Sequence[Message]) -> bool:
    if not run.agent_name:
        return True
    if run.session_id is not None:
        return not run.rendered_user_prompt and run.variables is None
    return len(messages) > 1


def _settings(run: Invocation, first: InvocationRound | None) -> Iterator[tuple[str, Any]]:
    """Model, temperature and max tokens as they were sent first: the agent's own may have changed."""
    model = first.model if first else run.model
    if model:
        yield "model", model
    params = first.request_params if first and isinstance(first.request_params, dict) else {}
    options = params.get("generationConfig") or params.get("inferenceConfig") or params
    for name, names in _SETTINGS.items():
        value = next((options[each] for each in names if each in options), None)
        if isinstance(value, int | float) and not isinstance(value, bool):
            yield name, value


_SETTINGS = {
    "temperature": ("temperature",),
    "max_tokens": ("max_tokens", "max_completion_tokens", "max_output_tokens", "maxOutputTokens", "maxTokens"),
}
"""The arguments of a run, and the parameters of the vendors' protocols."""


def _not_repeated(run: Invocation, messages: Sequence[Message]) -> Iterator[str]:
    """What the code leaves to the agent or the conversation of today, in English as code is."""
    for kind in ("system", "user"):
        name, version = getattr(run, f"{kind}_prompt_name"), getattr(run, f"{kind}_prompt_version")
        if name:
            used = f"version {version}" if version else "a draft"
            yield f"The run used {used} of the {kind} prompt {name!r}. The code uses the active version."
    if run.agent_name:
        yield "The agent's other settings and tools are those of today, and tools are executed again."
        yield "The arguments output_type and max_tool_rounds are not in the log."
    if run.session_id is not None:
        yield "The conversation continues where it is now, and remembers this turn."
    if run.session_id is not None and _has_messages(run, messages):
        yield "Of the messages, only the last one is repeated: the others may be the conversation's."
    if _has_messages(run, messages) and any(row.get("files") for row in messages):
        yield "The files in the messages are not repeated."
    if run.replay_of_id is not None:
        yield f"The run was a replay of invocation {run.replay_of_id}, with recorded results of tools."


def _message(row: Message) -> str:
    more = ""
    if calls := [call for call in row.get("tool_calls") or () if isinstance(call, dict)]:
        listed = ", ".join(
            f"ToolRequest({call.get('id')!r}, {call.get('name')!r}, {call.get('arguments')!r})" for call in calls
        )
        more += f", tool_calls=[{listed}]"
    if row.get("tool_call_id"):
        more += f", tool_call_id={row['tool_call_id']!r}"
    return f"LLMMessage({row.get('role')!r}, {str(row.get('content') or '')!r}{more})"


def _file(row: InvocationFile) -> str:
    if row.source == InvocationFile.Source.URL:
        return f"LLMFile.from_url({row.url!r})"
    return f"LLMFile.from_path({row.filename!r})"
