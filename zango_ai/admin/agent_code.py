"""The Python code that calls an agent, for staff to copy to a developer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.utils.translation import gettext_lazy as _

_INDENT = "    "
_APPROVALS = """\
if response.pending_approvals:
    # A person decides, then:
    response = agent.resume(
        response.run_id,
        {pending_id: True},
    )"""


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentCall:
    """What the code of a call depends on."""

    name: str
    has_user_prompt: bool = False
    variables: Sequence[str] = ()
    """Placeholders of the user prompt."""
    system_variables: Sequence[str] = ()
    has_memory: bool = False
    is_json: bool = False
    needs_approvals: bool = False
    """Whether one of its tools requires a person's approval."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One way to call the agent."""

    key: str
    title: Any
    code: str


def samples(call: AgentCall) -> list[Sample]:
    """The ways to call the agent, the simplest one first."""
    return [
        Sample("run", _("Run"), _run(call)),
        Sample("stream", _("Stream"), _stream(call)),
        Sample("enqueue", _("Background"), _enqueue(call)),
        Sample("arun", _("Async"), _arun(call)),
    ]


def _run(call: AgentCall) -> str:
    lines = [
        "from zango_ai import get_agent",
        "",
        f"agent = get_agent({_quoted(call.name)})",
        f"response = agent.run({_arguments(call)})",
    ]
    if call.needs_approvals:
        lines.append(_APPROVALS)
    return "\n".join([*lines, _result(call)])


def _stream(call: AgentCall) -> str:
    return "\n".join(
        [
            "from zango_ai import get_agent",
            "",
            f"agent = get_agent({_quoted(call.name)})",
            f"for chunk in agent.stream({_arguments(call)}):",
            f'{_INDENT}print(chunk.delta_text, end="")',
        ]
    )


def _enqueue(call: AgentCall) -> str:
    return "\n".join(
        [
            "from zango_ai import get_agent",
            "",
            f"agent = get_agent({_quoted(call.name)})",
            f"run = agent.enqueue({_arguments(call)})",
            "run.wait(timeout=60)",
            "response = run.response()",
            _result(call),
        ]
    )


def _arun(call: AgentCall) -> str:
    return "\n".join(
        [
            "from zango_ai import aget_agent",
            "",
            f"agent = await aget_agent({_quoted(call.name)})",
            f"response = await agent.arun({_arguments(call)})",
            _result(call),
        ]
    )


def _arguments(call: AgentCall) -> str:
    """The arguments, each on a line of its own unless there is only the text."""
    text = _text(call)
    others = [f"system_variables={_dict(call.system_variables)},"] if call.system_variables else []
    if call.has_memory:
        others += ["session_id=session_id,  # None starts a conversation", "user_ref=str(request.user.pk),"]
    if not others and "\n" not in text:
        return text
    lines = [f"{text},", *others] if text else others
    return "\n" + "".join(f"{_INDENT}{line}\n" for line in lines)


def _text(call: AgentCall) -> str:
    """The argument with the user's text. Empty for a user prompt without placeholders."""
    if not call.has_user_prompt:
        return '"Your message"'
    return f"variables={_dict(call.variables)}" if call.variables else ""


def _dict(names: Sequence[str]) -> str:
    entries = "".join(f'{_INDENT * 2}{_quoted(name)}: "...",\n' for name in names)
    return f"{{\n{entries}{_INDENT}}}"


def _result(call: AgentCall) -> str:
    if call.is_json:
        return "print(response.parsed_content)"
    return "print(response.content)"


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
