"""LLM agents for every tenant of a Django project.

::

    from zango_ai import get_agent
    response = get_agent("patient-summary").run(variables={"patient_id": 42})

The names below load when they are first used: importing the package imports neither Django's models nor
litellm.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .agent import Agent, aget_agent, get_agent
    from .configuration.lookups import get_prompt, get_provider
    from .definitions import define_agent, define_prompt, define_provider
    from .files.file import LLMFile
    from .providers.calls import warm_up
    from .runs.background import EnqueuedRun, get_run
    from .tools import ToolParam, ToolSafety, tool
    from .types import LLMMessage, LLMResponse, LLMStreamChunk, LLMToolCall, LLMUsage, PendingApproval

__version__ = "0.1.0a0"

__all__ = [
    "Agent",
    "EnqueuedRun",
    "LLMFile",
    "LLMMessage",
    "LLMResponse",
    "LLMStreamChunk",
    "LLMToolCall",
    "LLMUsage",
    "PendingApproval",
    "ToolParam",
    "ToolSafety",
    "aget_agent",
    "define_agent",
    "define_prompt",
    "define_provider",
    "get_agent",
    "get_prompt",
    "get_provider",
    "get_run",
    "tool",
    "warm_up",
]

_HOMES = {
    "Agent": "agent",
    "EnqueuedRun": "runs.background",
    "get_run": "runs.background",
    "aget_agent": "agent",
    "get_agent": "agent",
    "get_prompt": "configuration.lookups",
    "get_provider": "configuration.lookups",
    "define_agent": "definitions",
    "define_prompt": "definitions",
    "define_provider": "definitions",
    "LLMFile": "files.file",
    "LLMMessage": "types",
    "LLMResponse": "types",
    "LLMStreamChunk": "types",
    "LLMToolCall": "types",
    "LLMUsage": "types",
    "PendingApproval": "types",
    "ToolParam": "tools",
    "ToolSafety": "tools",
    "tool": "tools",
    "warm_up": "providers.calls",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
