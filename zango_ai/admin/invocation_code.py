"""A run as code that repeats it: a call in Python, and the first request as a command of curl, without the key."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pprint import pformat
from typing import Any
from urllib.parse import quote

from ..encryption.cipher import Undecryptable
from ..models import Invocation, InvocationFile, InvocationRound, Provider
from ..providers.kinds import KINDS
from ..providers.kinds.base import Kind

Message = dict[str, Any]

_NOT_SENT_AGAIN = {"stream", "stream_options"}


def python_call(run: Invocation, messages: Sequence[Message], files: Iterable[InvocationFile]) -> str:
    """``get_agent(...).run(...)`` with the arguments of the run, as far as the log has them."""
    chat = [row for row in messages if row.get("role") != "system" or not run.agent_name]
    names, lines = [], []
    for name, value in _arguments(run, chat, list(files)):
        text = value if isinstance(value, _Code) else pformat(value, width=88, sort_dicts=False)
        lines.append("    " + f"{name}={text}".replace("\n", "\n" + " " * (5 + len(name))) + ",")
    names += ["LLMFile"] * any(line.startswith("    files=") for line in lines)
    names += ["LLMMessage"] * any(line.startswith("    messages=") for line in lines)
    if run.agent_name:
        names.append("get_agent")
        call = f"get_agent({run.agent_name!r}).run("
    else:
        names.append("get_provider")
        call = f"get_provider({run.provider_name!r}).complete("
    return "\n".join([f"from zango_ai import {', '.join(names)}", "", f"response = {call}", *lines, ")"])


class _Code(str):
    """Python source, where other values are shown by their repr."""

    __slots__ = ()


def _arguments(
    run: Invocation, chat: Sequence[Message], files: Sequence[InvocationFile]
) -> Iterator[tuple[str, Any]]:
    if not run.agent_name or (run.session_id is None and len(chat) > 1):
        calls = [f"LLMMessage({row.get('role')!r}, {str(row.get('content') or '')!r})" for row in chat]
        yield "messages", _Code("[" + ",\n ".join(calls) + "]")
    elif run.variables is not None:
        yield "variables", run.variables
    elif run.rendered_user_prompt:
        yield "input", run.rendered_user_prompt
    if run.system_variables is not None:
        yield "system_variables", run.system_variables
    if files:
        yield "files", _Code("[" + ",\n ".join(map(_file, files)) + "]")
    if not run.agent_name:
        yield "model", run.model
    for name in ("session_id", "user_ref", "triggered_by"):
        if value := getattr(run, name):
            yield name, str(value)


def _file(row: InvocationFile) -> str:
    if row.source == InvocationFile.Source.URL:
        return f"LLMFile.from_url({row.url!r})"
    return f"LLMFile.from_path({row.filename!r})"


def curl(provider: Provider, round_: InvocationRound) -> str:
    """The first request of a run to its provider. Empty if the provider's address cannot be read."""
    kind = KINDS.get(provider.kind)
    if kind is None:
        return ""
    try:
        settings = {slot.name: provider.credentials.get(slot.name) for slot in kind.slots if not slot.is_secret}
        base = kind.base_url({name: value for name, value in settings.items() if value})
    except (Undecryptable, KeyError):
        return ""
    messages = round_.request_messages if isinstance(round_.request_messages, list) else []
    listed = round_.request_tools if isinstance(round_.request_tools, list) else []
    tools = [tool for tool in listed if "name" in tool]  # without those that were removed from the log
    params = {name: value for name, value in round_.request_params.items() if name not in _NOT_SENT_AGAIN}
    model = quote(round_.model, safe="")
    path, options, body = _FORMS.get(kind.name, _openai)(kind, settings, model)
    content = {**params, **body(round_.model, messages, tools)}
    return " \\\n  ".join(
        [
            f"curl {shlex.quote(base + path)}",
            *options,
            '-H "Content-Type: application/json"',
            f"-d {shlex.quote(json.dumps(content, indent=2, ensure_ascii=False))}",
        ]
    )


Body = Callable[[str, Sequence[Message], Sequence[Message]], dict[str, Any]]
Form = tuple[str, list[str], Body]


def _openai(kind: Kind, settings: Mapping[str, Any], model: str) -> Form:
    return "/chat/completions", ['-H "Authorization: Bearer $API_KEY"'], _openai_body


def _azure(kind: Kind, settings: Mapping[str, Any], model: str) -> Form:
    version = quote(str(settings.get("api_version") or ""))
    path = f"/openai/deployments/{model}/chat/completions?api-version={version}"
    return path, ['-H "api-key: $API_KEY"'], _openai_body


def _anthropic(kind: Kind, settings: Mapping[str, Any], model: str) -> Form:
    headers = ['-H "x-api-key: $API_KEY"', '-H "anthropic-version: 2023-06-01"']
    return "/v1/messages", headers, _anthropic_body


def _gemini(kind: Kind, settings: Mapping[str, Any], model: str) -> Form:
    return f"/models/{model}:generateContent", ['-H "x-goog-api-key: $API_KEY"'], _gemini_body


def _bedrock(kind: Kind, settings: Mapping[str, Any], model: str) -> Form:
    region = shlex.quote(f"aws:amz:{settings.get('aws_region_name') or ''}:bedrock")
    options = [f"--aws-sigv4 {region}", '--user "$AWS_ACCESS_KEY_ID:$AWS_SECRET_ACCESS_KEY"']
    return f"/model/{model}/converse", options, _bedrock_body


_FORMS: dict[str, Callable[[Kind, Mapping[str, Any], str], Form]] = {
    "azure": _azure,
    "anthropic": _anthropic,
    "gemini": _gemini,
    "bedrock": _bedrock,
}


def _openai_body(model: str, messages: Sequence[Message], tools: Sequence[Message]) -> dict[str, Any]:
    sent = []
    for row in messages:
        calls = [
            {
                "id": call.get("id"),
                "type": "function",
                "function": {key: call.get(key) for key in ("name", "arguments")},
            }
            for call in row.get("tool_calls") or ()
        ]
        answers = {"tool_call_id": row["tool_call_id"]} if row.get("tool_call_id") else {}
        sent.append(
            {
                "role": row.get("role"),
                "content": _content(row),
                **({"tool_calls": calls} if calls else {}),
                **answers,
            }
        )
    declared = [{"type": "function", "function": tool} for tool in tools]
    return {"model": model, "messages": sent, **({"tools": declared} if declared else {})}


def _anthropic_body(model: str, messages: Sequence[Message], tools: Sequence[Message]) -> dict[str, Any]:
    system, chat = _split(messages)
    declared = [
        {"name": tool["name"], "description": tool["description"], "input_schema": tool["parameters"]}
        for tool in tools
    ]
    sent = [{"role": _speaker(row), "content": _content(row)} for row in chat]
    more = {**({"system": system} if system else {}), **({"tools": declared} if declared else {})}
    return {"model": model, **more, "messages": sent}


def _gemini_body(model: str, messages: Sequence[Message], tools: Sequence[Message]) -> dict[str, Any]:
    system, chat = _split(messages)
    sent = [
        {"role": "model" if row.get("role") == "assistant" else "user", "parts": [{"text": _content(row)}]}
        for row in chat
    ]
    more: dict[str, Any] = {"systemInstruction": {"parts": [{"text": system}]}} if system else {}
    return {**more, "contents": sent, **({"tools": [{"functionDeclarations": list(tools)}]} if tools else {})}


def _bedrock_body(model: str, messages: Sequence[Message], tools: Sequence[Message]) -> dict[str, Any]:
    system, chat = _split(messages)
    declared = [
        {"toolSpec": {**tool, "inputSchema": {"json": tool.get("parameters")}, "parameters": None}}
        for tool in tools
    ]
    for tool in declared:
        del tool["toolSpec"]["parameters"]
    sent = [{"role": _speaker(row), "content": [{"text": _content(row)}]} for row in chat]
    more: dict[str, Any] = {"system": [{"text": system}]} if system else {}
    return {**more, "messages": sent, **({"toolConfig": {"tools": declared}} if declared else {})}


def _split(messages: Sequence[Message]) -> tuple[str, list[Message]]:
    system = [_content(row) for row in messages if row.get("role") == "system"]
    return "\n\n".join(system), [row for row in messages if row.get("role") != "system"]


def _speaker(row: Message) -> str:
    return "assistant" if row.get("role") == "assistant" else "user"


def _content(row: Message) -> str:
    """The text; a file is named in it, because the log's page does not contain its content."""
    files = [f"[content of {file.get('filename')}]" for file in row.get("files") or ()]
    return "\n".join([*files, str(row.get("content") or "")])
