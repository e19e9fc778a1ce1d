"""Python functions that an agent may call: declared, found by name, given checked arguments, bounded in time.

Nothing here knows a database or a provider. pydantic makes the schemas, imported when the first is asked for.
"""

from .declaration import DeclaredTool, ToolParam, ToolSafety, tool

__all__ = ["DeclaredTool", "ToolParam", "ToolSafety", "tool"]
