"""The frozen values that runs work with. None of them knows the database or a provider's library."""

from .messages import ROLES, LLMMessage, Role, ToolRequest
from .requests import Estimate, JSONForm, ModelAnswer, ModelRequest, ToolSchema
from .responses import (
    TRIGGERS,
    LLMResponse,
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
    "Estimate",
    "JSONForm",
    "LLMMessage",
    "LLMResponse",
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
