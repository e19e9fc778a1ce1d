"""What a tool call does, in words, for the person who decides about it."""

from __future__ import annotations

import json
import logging
from typing import Any

from .. import sanitize
from .execution import ToolResult

logger = logging.getLogger("zango_ai.tools")

MAX_READ = 2_000
"""How many characters of a ``describe`` function's text are read."""
_MAX_CHARS = 300


def of_result(result: ToolResult) -> str:
    """The text that ``describe`` has returned; "" if it failed or returned none."""
    if isinstance(result.value, str):
        return _shortened(result.value)
    failure = str(result.error).partition(":")[0] if result.error else f"It returned {type(result.value).__name__}"
    logger.warning("The describe function of a tool gave no text. %s", failure)
    return ""


def without_words(name: str, arguments: Any) -> str:
    """``record_note(patient_id=1, text="Seen today.")``. It is not stored: only whole arguments can be redacted."""
    if not isinstance(arguments, dict):
        return _shortened(name)
    listed = ", ".join(f"{key}={json.dumps(value, ensure_ascii=False)}" for key, value in arguments.items())
    return _shortened(f"{name}({listed})")


def _shortened(text: str) -> str:
    text = " ".join(sanitize.text(text).split())
    return text if len(text) <= _MAX_CHARS else f"{text[: _MAX_CHARS - 1]}\N{HORIZONTAL ELLIPSIS}"
