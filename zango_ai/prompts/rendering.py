"""Find and fill the placeholders in a prompt.

A placeholder is ``{{name}}`` or ``{{ name }}``. A name has letters, digits and underscores. Filters, attributes and
expressions are not supported: staff edit prompts, and a template language would let them run code.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ..exceptions import PromptRenderError

_PLACEHOLDER = re.compile(r"\{\{[ \t]*(\w+)[ \t]*\}\}")
# Text that begins like a placeholder or a template tag. Possessive quantifiers (*+) and length limits keep the
# search linear in the text.
_CANDIDATE = re.compile(r"\{\{[ \t]*+\w[^{}\n]{0,60}+\}{0,2}|\{%-?[ \t]*+\w[^{}%\n]{0,60}+-?%?\}?")

_ADVICE_FOR_RUNS = (
    "Pass the values of a user prompt in variables= and those of a system prompt in system_variables=, or remove "
    "the placeholders."
)


def find_placeholders(content: str) -> list[str]:
    """The names in order of appearance, without duplicates."""
    return list(dict.fromkeys(_PLACEHOLDER.findall(content)))


def split_at_placeholders(content: str) -> list[tuple[str, bool]]:
    """The text in parts, and whether each part is a placeholder."""
    parts: list[tuple[str, bool]] = []
    end = 0
    for match in _PLACEHOLDER.finditer(content):
        if match.start() > end:
            parts.append((content[end : match.start()], False))
        parts.append((match[0], True))
        end = match.end()
    if end < len(content):
        parts.append((content[end:], False))
    return parts


def find_mistakes(content: str) -> list[str]:
    """Texts that look like placeholders but are not, such as ``{{ a.b }}``, ``{{ a`` or ``{% if a %}``."""
    candidates = _CANDIDATE.finditer(content)
    mistakes = (match for match in candidates if not _PLACEHOLDER.match(content, match.start()))
    return list(dict.fromkeys(match[0].rstrip() for match in mistakes))


class Renderer:
    """Fills the placeholders of one or more prompts in one pass: placeholders inside a value are not rendered.

    A value is inserted as ``str(value)``, None as empty text. Call ``finish()`` after the last prompt.
    """

    def __init__(self) -> None:
        self._missing: dict[str, list[str]] = {}

    def render(self, content: str, values: Mapping[str, Any], *, prompt_name: str) -> str:
        missing = [name for name in find_placeholders(content) if name not in values]
        if missing:
            self._missing.setdefault(prompt_name, []).extend(missing)
            return content
        return _PLACEHOLDER.sub(lambda match: _as_text(values[match[1]]), content)

    def finish(self, advice: str = _ADVICE_FOR_RUNS) -> None:
        """Raises PromptRenderError, which lists the placeholders without a value in all rendered prompts."""
        if not self._missing:
            return
        names = list(dict.fromkeys(name for missing in self._missing.values() for name in missing))
        by_prompt = "; ".join(f"{prompt!r} needs {', '.join(missing)}" for prompt, missing in self._missing.items())
        raise PromptRenderError(
            names,
            f"Placeholders have no value: prompt {by_prompt}. {advice}",
        )


def _as_text(value: Any) -> str:
    return "" if value is None else str(value)
