"""Tool calls in scripted answers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Call:
    """A tool call in a scripted answer."""

    name: str
    arguments: Mapping[str, Any] | str = field(default_factory=dict)
    """OpenAI's API takes the arguments as text: a string is sent unchanged, so it can be invalid JSON. Other APIs
    take an object: a string is parsed, and becomes ``{}`` if it is not a JSON object."""
    id: str | None = None
    """None: generated in the vendor's format, or left out for Gemini."""

    @property
    def arguments_text(self) -> str:
        return self.arguments if isinstance(self.arguments, str) else json.dumps(dict(self.arguments))

    @property
    def arguments_object(self) -> dict[str, Any]:
        if not isinstance(self.arguments, str):
            return dict(self.arguments)
        try:
            parsed = json.loads(self.arguments)
        except ValueError:
            return {}
        return parsed if isinstance(parsed, dict) else {}
