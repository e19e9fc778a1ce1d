"""All tools that are declared in this process, by name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..argument_checks import did_you_mean
from ..exceptions import ToolNotFound

if TYPE_CHECKING:
    from .declaration import DeclaredTool

_tools: dict[str, DeclaredTool] = {}


def register(tool: DeclaredTool) -> None:
    """Raises ToolDeclarationInvalid if another function already has the tool's name."""
    existing = _tools.get(tool.name)
    if existing is not None and not _may_replace(tool, existing):
        raise tool.invalid(f"has a name that is already used by {existing.python_path} at {existing.location}")
    _tools[tool.name] = tool


def get(name: str) -> DeclaredTool:
    """Raises ToolNotFound."""
    try:
        return _tools[name]
    except KeyError:
        raise ToolNotFound(
            name,
            f"There is no tool {name!r}.{did_you_mean(name, _tools)} Declare it with @tool in the tools.py of an "
            "installed app.",
        ) from None


def is_registered(name: str) -> bool:
    return name in _tools


def all_tools() -> list[DeclaredTool]:
    """All registered tools, sorted by name."""
    return sorted(_tools.values(), key=lambda tool: tool.name)


def _may_replace(tool: DeclaredTool, existing: DeclaredTool) -> bool:
    """True if both come from one line (its module was reloaded), or are local to two different functions.

    A test may declare a tool in its body, and the next test may reuse that name.
    """
    if (tool.file, tool.line) == (existing.file, existing.line):
        return True
    enclosing, _, _ = tool.function.__qualname__.rpartition(".<locals>.")
    existing_enclosing, _, _ = existing.function.__qualname__.rpartition(".<locals>.")
    return bool(enclosing and existing_enclosing) and (tool.file, enclosing) != (existing.file, existing_enclosing)
