"""Placeholders in a prompt: find them, fill them.

A placeholder is ``{{name}}`` or ``{{ name }}``, a name being letters, digits and underscores. There are no
filters, attributes or expressions: staff edit prompts, and a template language would be a way to run code.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ..exceptions import PromptRenderError

_PLACEHOLDER = re.compile(r"\{\{[ \t]*(\w+)[ \t]*\}\}")
# What begins like a placeholder or a tag of a template language. Each run of blanks is read once (*+), and what
# follows is limited: the time is linear in the text.
_ALMOST = re.compile(r"\{\{[ \t]*+\w[^{}\n]{0,60}+\}{0,2}|\{%-?[ \t]*+\w[^{}%\n]{0,60}+-?%?\}?")


def find_placeholders(content: str) -> list[str]:
    """Names in order of appearance, each once."""
    return list(dict.fromkeys(_PLACEHOLDER.findall(content)))


def find_mistakes(content: str) -> list[str]:
    """Each text that looks like a placeholder and is none, as ``{{ a.b }}``, ``{{ a`` or ``{% if a %}``."""
    found = (each for each in _ALMOST.finditer(content) if not _PLACEHOLDER.match(content, each.start()))
    return list(dict.fromkeys(each[0].rstrip() for each in found))


class Renderer:
    """Fills placeholders, in one pass: what comes out of a value is not rendered again.

    A value is sent as ``str(value)``, None as empty text. Several prompts can be rendered before ``finish()``,
    which raises PromptRenderError naming every placeholder of any of them that has no value.
    """

    def __init__(self) -> None:
        self._missing: dict[str, list[str]] = {}

    def render(self, content: str, values: Mapping[str, Any], *, prompt_name: str) -> str:
        missing = [name for name in find_placeholders(content) if name not in values]
        if missing:
            self._missing.setdefault(prompt_name, []).extend(missing)
            return content
        return _PLACEHOLDER.sub(lambda match: _as_text(values[match[1]]), content)

    def finish(self) -> None:
        if not self._missing:
            return
        names = list(dict.fromkeys(name for missing in self._missing.values() for name in missing))
        wanting = "; ".join(f"{prompt!r} needs {', '.join(missing)}" for prompt, missing in self._missing.items())
        raise PromptRenderError(
            names,
            f"Values are missing for placeholders: prompt {wanting}. Pass them in variables= for a user prompt and "
            "in system_variables= for a system prompt, or take the placeholders out.",
        )


def _as_text(value: Any) -> str:
    return "" if value is None else str(value)
