"""The database models. Every table lives in the tenants' schemas."""

from .agent import AgentConfig, Fallback
from .invocation import Invocation, InvocationRound, ToolCall
from .invocation_file import InvocationFile
from .maintenance import MaintenanceRecord
from .memory import MemoryMessage, MemorySession
from .payload import Payload
from .prompt import Prompt, PromptVersion
from .provider import Provider
from .provider_model import ProviderModel
from .stream_chunk import StreamChunk
from .tool import Tool
from .usage import RateLimitState, Spend, ToolUsage, UsageRollup

__all__ = [
    "AgentConfig",
    "Fallback",
    "Invocation",
    "InvocationFile",
    "InvocationRound",
    "MaintenanceRecord",
    "MemoryMessage",
    "MemorySession",
    "Payload",
    "Prompt",
    "PromptVersion",
    "Provider",
    "ProviderModel",
    "RateLimitState",
    "Spend",
    "StreamChunk",
    "Tool",
    "ToolCall",
    "ToolUsage",
    "UsageRollup",
]
