"""The frozen values that runs work with. None of them knows the database or a provider's library."""

from .messages import ROLES, LLMMessage, Role, ToolRequest
from .requests import Estimate, JSONForm, ModelAnswer, ModelRequest, ToolSchema
from .responses import (
    TRIGGERS,
    ChunkType,
    LLMResponse,
    LLMStreamChunk,
    LLMToolCall,
    LLMUsage,
    PendingApproval,
    StopReason,
    Trigger,
)
from .specs import (
    AgentSpec,
    Budget,
    ModelSpec,
    OutputSchema,
    Price,
    PromptSpec,
    ProviderSpec,
    RateLimits,
    Secrets,
    Target,
)

__all__ = [
    "ROLES",
    "TRIGGERS",
    "AgentSpec",
    "Budget",
    "ChunkType",
    "Estimate",
    "JSONForm",
    "LLMMessage",
    "LLMResponse",
    "LLMStreamChunk",
    "LLMToolCall",
    "LLMUsage",
    "ModelAnswer",
    "ModelRequest",
    "ModelSpec",
    "OutputSchema",
    "PendingApproval",
    "Price",
    "PromptSpec",
    "ProviderSpec",
    "RateLimits",
    "Role",
    "Secrets",
    "StopReason",
    "Target",
    "ToolRequest",
    "ToolSchema",
    "Trigger",
]
