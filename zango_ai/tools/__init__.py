"""Python functions that agents can call: declare them, find them by name, check their arguments, execute them.

=========================  =====================================================================
``declaration``            ``@tool`` and ``ToolSafety``
``tool_param``             ``ToolParam()``
``parameters``             a function's signature as a JSON schema; the model's arguments, checked
``allowed_values``         ``ToolParam(enum=...)``
``registry``               all declared tools, by name
``execution``              one call, from checked arguments to a JSON result or an error
``time_limit``             the thread in which a tool runs, and how it is stopped
``borrowed_connection``    the caller's database connection, lent to that thread
``read_only``              statements that a ``READ_ONLY`` tool is refused
``results``                a tool's return value as JSON of limited size
``descriptions``           what a call does, in words, for the person who decides about it
``approval_decisions``     what a person decided about a tool call
=========================  =====================================================================

pydantic, which makes the JSON schemas, is imported when the first schema is needed.
"""

from .declaration import DeclaredTool, ToolSafety, tool
from .tool_param import ToolParam

__all__ = ["DeclaredTool", "ToolParam", "ToolSafety", "tool"]
