"""Apply ``ZANGO_AI["REDACT"]`` to texts before they are stored. What is sent and returned stays as it is.

A text that the callable cannot handle is not stored. A note in its place says why.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

from django.core.signals import setting_changed
from django.dispatch import receiver

from .. import sanitize, tenancy
from ..conf import get_conf
from ..exceptions import is_time_limit

logger = logging.getLogger("zango_ai.redaction")

_TOOL_NAME = re.compile("[A-Za-z0-9_-]{1,64}")
_MAX_CACHED_CHARS = 4_000
"""A conversation sends its history again with each request. Longer texts are redacted each time."""


class _WrongResult(TypeError):
    """The callable has returned something else than text."""


def is_on() -> bool:
    """Whether texts are redacted."""
    return get_conf().redact is not None


def text(value: str, limit: int = sanitize.MAX_TEXT_CHARS) -> str:
    """``sanitize.text(value)``, redacted.

    In JSON, each text is redacted by itself: a name may be escaped, and an answer in JSON remains JSON.
    """
    stored = sanitize.text(value, limit)
    if not (stored and is_on()):
        return stored
    content = _json(stored)
    if content is None:
        return sanitize.text(_safely(stored), limit)
    redacted = _redacted(content)
    return stored if redacted == content else sanitize.text(json.dumps(redacted, ensure_ascii=False), limit)


def shown(value: Any, limit: int = sanitize.MAX_TEXT_CHARS) -> str:
    """``sanitize.shown(value)``, redacted."""
    return text(sanitize.shown(value, limit), limit)


def document(value: Any) -> str:
    """``sanitize.document(value)`` with all its texts redacted, keys too."""
    encoded = sanitize.document(value)
    return encoded if not is_on() else sanitize.document(_redacted(json.loads(encoded)))


def messages(rows: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Messages in the form of ``transcript.messages_to_json()``, with redacted texts."""
    return [_message(row) for row in rows] if is_on() else list(rows)


def calls(rows: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Tool calls in the form of ``transcript.calls_to_json()``, with redacted arguments."""
    return [_call(row) for row in rows] if is_on() else list(rows)


def tool_name(value: str, limit: int = sanitize.MAX_TEXT_CHARS) -> str:
    """The name of a tool. A model may call one that does not exist, by any text; other names stay as they are."""
    return sanitize.text(value, limit) if _TOOL_NAME.fullmatch(value) else text(value, limit)


def _call(row: Mapping[str, Any]) -> Mapping[str, Any]:
    return {**row, "name": tool_name(row["name"]), "arguments": text(row["arguments"])}


def _message(row: Mapping[str, Any]) -> Mapping[str, Any]:
    stored = {**row, "content": text(row["content"])}
    if "tool_calls" in row:
        stored["tool_calls"] = calls(row["tool_calls"])
    if "files" in row:
        stored["files"] = [{**file, "filename": text(file["filename"])} for file in row["files"]]
    return stored


def _json(stored: str) -> Any:
    """The list or dict that the text is the JSON of; None if it is none."""
    if not stored.lstrip().startswith(("{", "[")):
        return None
    try:
        return json.loads(stored)
    except (ValueError, RecursionError):
        return None


def _redacted(value: Any) -> Any:
    if isinstance(value, str):
        return text(value)
    if isinstance(value, list):
        return [_redacted(item) for item in value]
    if not isinstance(value, dict):
        return value
    stored: dict[str, Any] = {}
    for key, item in value.items():
        name = text(key)
        while name in stored:
            name += "'"
        stored[name] = _redacted(item)
    return stored


def _safely(value: str) -> str:
    try:
        return _cached(tenancy.current_schema(), value) if len(value) <= _MAX_CACHED_CHARS else _apply(value)
    except Exception as exc:
        if is_time_limit(exc):
            raise
        # The message and the traceback of the application's own error may contain the text.
        reason = str(exc) if isinstance(exc, _WrongResult) else f"raised {type(exc).__name__}"
        logger.error("ZANGO_AI['REDACT'] %s in %s, so a text was not stored", reason, tenancy.current_schema())
        return f"[not stored: REDACT {reason}]"


@lru_cache(1024)
def _cached(schema: str, value: str) -> str:
    """By schema, because the callable may depend on the tenant."""
    return _apply(value)


def _apply(value: str) -> str:
    redact = get_conf().redact
    stored = value if redact is None else redact(value)
    if not isinstance(stored, str):
        raise _WrongResult(f"returned {type(stored).__name__}")
    return stored


@receiver(setting_changed)
def _clear_cache(*, setting: str, **kwargs: Any) -> None:
    if setting == "ZANGO_AI":
        _cached.cache_clear()
