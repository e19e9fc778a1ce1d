"""Keep parts of tool call arguments away from litellm that it cannot read.

litellm parses the arguments of every tool call. An integer of 5,000 digits or an array nested 2,000 levels deep
makes it reject the whole response. Placeholders replace such parts before litellm reads the response.
"""

from __future__ import annotations

import json
import re
import secrets

from ..output import json_limits

_ARGUMENTS = re.compile(r'("arguments"\s*+:\s*+)("[^"\\]*+(?:\\.[^"\\]*+)*+")', re.DOTALL)
"""Arguments in OpenAI's form: JSON in a string. Within another string the quotes would be escaped."""
_PLACEHOLDER = re.compile(r'\{"withheld_[0-9a-f]{24}": true\}|"withheld_[0-9a-f]{24}"')


class UnreadableArguments:
    """The replaced parts of one response."""

    def __init__(self) -> None:
        self._originals: dict[str, str] = {}
        """By placeholder."""

    def replace(self, body: bytes) -> bytes:
        """The response body with a placeholder for each part that litellm cannot read."""
        try:
            text = body.decode()
        except UnicodeDecodeError:
            return body
        replaced = self._without_excesses(_ARGUMENTS.sub(self._checked, text))
        return replaced.encode() if self._originals else body

    def restore(self, arguments: str) -> str:
        """A call's arguments as the model wrote them."""
        if not self._originals:
            return arguments
        return _PLACEHOLDER.sub(lambda match: self._originals.get(match[0], match[0]), arguments)

    def _checked(self, match: re.Match[str]) -> str:
        prefix, encoded = match.groups()
        try:
            text = json.loads(encoded)
        except ValueError:
            return match[0]
        if json_limits.is_within(text):
            return match[0]
        return prefix + json.dumps(self._placeholder(text, '{{"{}": true}}'))

    def _without_excesses(self, text: str) -> str:
        pieces, done = [], 0
        for start, end in json_limits.excesses(text):
            pieces += [text[done:start], self._placeholder(text[start:end], '"{}"')]
            done = end
        return "".join([*pieces, text[done:]])

    def _placeholder(self, original: str, form: str) -> str:
        placeholder = form.format(f"withheld_{secrets.token_hex(12)}")
        self._originals[placeholder] = original
        return placeholder
