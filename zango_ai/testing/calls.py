"""The tool calls that a script has the model make."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Call:
    """One tool call of a scripted answer."""

    name: str
    arguments: Mapping[str, Any] | str = field(default_factory=dict)
    """A str is sent as it is where the protocol has a text, which is OpenAI's: so JSON can be broken, too. Where it
    has an object, a str is parsed, and one that is no object becomes ``{}``."""
    id: str | None = None
    """None: made up, as the vendor's look. Gemini's calls have none then."""

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
