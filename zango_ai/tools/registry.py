"""Every declared tool of the process, by name."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from ..arguments import did_you_mean
from ..exceptions import ToolNotFound

if TYPE_CHECKING:
    from .declaration import DeclaredTool

_tools: dict[str, DeclaredTool] = {}


def add(made: DeclaredTool) -> None:
    """Raises ToolDeclarationInvalid where another function has the name."""
    held = _tools.get(made.name)
    if held is not None and not _replaces(made, held):
        raise made.invalid(f"has a name that is taken by {held.python_path} at {held.where}")
    _tools[made.name] = made


def find(name: str) -> DeclaredTool:
    """Raises ToolNotFound."""
    try:
        return _tools[name]
    except KeyError:
        raise ToolNotFound(
            name,
            f"There is no tool {name!r}.{did_you_mean(name, _tools)} Declare it with @tool in the tools.py of an "
            "installed app.",
        ) from None


def has(name: str) -> bool:
    return name in _tools


def every() -> Iterator[DeclaredTool]:
    """All of them, by name."""
    return iter(sorted(_tools.values(), key=lambda made: made.name))


def _replaces(made: DeclaredTool, held: DeclaredTool) -> bool:
    """Whether it is the same function once more (its module was loaded again), or both are of functions' insides.

    A test may declare a tool in its own body, and the next test another of that name.
    """
    if (made.file, made.line) == (held.file, held.line):
        return True
    inside, _, _ = made.function.__qualname__.rpartition(".<locals>.")
    held_inside, _, _ = held.function.__qualname__.rpartition(".<locals>.")
    return bool(inside and held_inside) and (made.file, inside) != (held.file, held_inside)
