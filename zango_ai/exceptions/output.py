"""Errors of the model's output."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from .base import ZangoAIError


class OutputError(ZangoAIError):
    """The model's answer is not valid output, or it cannot be validated."""


class OutputSchemaInvalid(OutputError):
    """The agent's JSON schema is not valid."""


class OutputParseError(OutputError):
    """The answer is not JSON. ``content`` is the answer; ``reason`` says why it cannot be parsed."""

    def __init__(self, content: str, message: str, *, reason: str | None = None) -> None:
        super().__init__(message)
        self.content = content
        self.reason = message if reason is None else reason


class OutputValidationError(OutputError):
    """The answer is JSON that does not match the agent's schema.

    ``errors`` lists up to 100 errors as ``{"path": "$.items[0].price", "message": ...}`` in document order.
    ``field`` is the path of the first.
    """

    def __init__(self, errors: Sequence[Mapping[str, str]], message: str) -> None:
        super().__init__(message)
        self.errors = [dict(error) for error in errors]
        self.field = self.errors[0]["path"] if self.errors else None
