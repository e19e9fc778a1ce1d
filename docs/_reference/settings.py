"""The settings, from ``zango_ai.conf.Conf``."""

from collections.abc import Iterator
from dataclasses import Field, fields
from typing import Any

from zango_ai.conf import Conf

from .markdown import annotations, attribute_docs, code, prose

_TYPES = {
    "tuple[str, ...]": "list of strings",
    "str": "text",
    "int": "whole number",
    "bool": "`True` or `False`",
    "None": "`None`",
    "dict": "dict",
    "Callable": "callable (or its dotted path)",
}
_MORE = {
    "ALLOWED_API_BASES": ("Addresses", "../how-to/connect-a-provider.md#addresses"),
    "API_PERMISSION": ("Control who may call", "../how-to/call-over-http.md#control-who-may-call"),
    "APPROVAL_EMAILS": ("Notifications", "../how-to/approve-tool-calls.md#notifications"),
    "APPROVAL_TTL_HOURS": ("Approval", "../how-to/approve-tool-calls.md"),
    "BACKGROUND_RETRIES": ("Run agents in the background", "../how-to/run-in-the-background.md"),
    "ENCRYPTION_KEYS": ("Encryption keys", "../how-to/secure.md#encryption-keys"),
    "INVOCATION_TTL_DAYS": ("Keep and delete data", "../how-to/keep-and-delete-data.md"),
    "MAX_FILES": ("Send files", "../how-to/send-files.md"),
    "MAX_FILE_BYTES": ("Send files", "../how-to/send-files.md"),
    "MAX_TOOL_RESULT_CHARS": ("Return values", "../how-to/give-an-agent-tools.md#return-values"),
    "PAYLOAD_TTL_DAYS": ("Keep and delete data", "../how-to/keep-and-delete-data.md"),
    "QUEUE": ("Run agents in the background", "../how-to/run-in-the-background.md"),
    "REDACT": (
        "Redact texts before they are stored",
        "../how-to/keep-and-delete-data.md#redact-texts-before-they-are-stored",
    ),
    "RESUMABLE_CHATS": ("Resume a chat", "../how-to/call-over-http.md#resume-a-chat"),
    "SESSION_TTL_DAYS": ("Clear conversations", "../how-to/remember-conversations.md#clear-conversations"),
    "TENANT_TIME_ZONE": ("Limit spending", "../how-to/limit-spending.md"),
}


def block() -> str:
    return "\n\n".join(_setting(field) for field in fields(Conf))


def _setting(field: Field[Any]) -> str:
    name = field.name.upper()
    kinds = " or ".join(dict.fromkeys(_kinds(annotations(Conf)[field.name])))
    label, link = _MORE.get(name, ("", ""))
    lines = [
        f"### {name}",
        f"{kinds[:1].upper()}{kinds[1:]}. Default: {code(_default(field.default))}",
        prose(attribute_docs(Conf)[field.name]) + (f" More: [{label}]({link})." if link else ""),
    ]
    return "\n\n".join(lines)


def _kinds(annotation: str) -> Iterator[str]:
    for part in annotation.split(" | "):
        yield next((words for start, words in _TYPES.items() if part.startswith(start)), code(part))


def _default(value: object) -> str:
    return repr(list(value) if isinstance(value, tuple) else value).replace("'", '"')
