"""Placeholders in a prompt: find them, fill them.

A placeholder is ``{{name}}`` or ``{{ name }}``, a name being letters, digits and underscores. There are no
filters, attributes or expressions: staff edit prompts, and a template language would be a way to run code.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from .exceptions import PromptRenderError

_PLACEHOLDER = re.compile(r"\{\{[ \t]*(\w+)[ \t]*\}\}")
_ALMOST = re.compile(r"\{\{[ \t]*(?![ \t]*\w+[ \t]*\}\})([\w.\-|: ]+?)[ \t]*\}\}")


def find_placeholders(content: str) -> list[str]:
    """Names in order of appearance, each once."""
    return list(dict.fromkeys(_PLACEHOLDER.findall(content)))


def find_mistakes(content: str) -> list[str]:
    """What looks like a placeholder and is not one, as ``{{ patient.name }}``: it is sent as it stands."""
    return list(dict.fromkeys(_ALMOST.findall(content)))


def render(content: str, values: Mapping[str, Any], *, prompt_name: str) -> str:
    """Fill every placeholder, in one pass: what comes out of a value is not rendered again.

    A value is sent as ``str(value)``, None as empty text. Raises PromptRenderError naming every
    placeholder without a value.
    """
    missing = [name for name in find_placeholders(content) if name not in values]
    if missing:
        raise PromptRenderError(
            missing,
            f"Prompt {prompt_name!r} needs a value for {', '.join(missing)}. Pass "
            f"{'it' if len(missing) == 1 else 'them'} in the dict of variables, or take the "
            f"placeholder{'' if len(missing) == 1 else 's'} out of the prompt.",
        )
    return _PLACEHOLDER.sub(lambda match: _as_text(values[match[1]]), content)


def _as_text(value: Any) -> str:
    return "" if value is None else str(value)
