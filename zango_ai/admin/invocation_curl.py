"""The first request of a run as a command of curl, without the key."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import quote

from ..encryption.cipher import Undecryptable
from ..models import InvocationRound, Provider
from ..providers.kinds import KINDS
from ..providers.kinds.base import Kind

Message = dict[str, Any]

_NOT_SENT_AGAIN = {"stream", "stream_options"}


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
