"""Errors of tools."""

from __future__ import annotations

from .base import ZangoAIError


class ToolError(ZangoAIError):
    """A tool cannot be called, or its call failed.

    A failed tool call does not end a run: the error is logged, and the model is told.
    """

    def __init__(self, tool_name: str, message: str) -> None:
        super().__init__(message)
        self.tool_name = tool_name


class ToolNotFound(ToolError):
    """No tool of that name is declared."""


class ToolTimeout(ToolError):
    """The tool did not return within its ``timeout_seconds``."""


class ToolExecutionError(ToolError):
    """The tool raised, broke its transaction, or returned a value that cannot be converted to JSON."""


class ToolDeclarationInvalid(ToolError, TypeError):
    """``@tool`` cannot make a tool of this function. The message names the file and line."""
