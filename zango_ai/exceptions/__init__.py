"""The exceptions of ``zango_ai``.

::

    ZangoAIError
    ├── NotFoundError                 AgentNotFound, ProviderNotFound, PromptNotFound
    ├── DisabledError                 AgentDisabled, ProviderDisabled
    ├── InputRequired                 also a ValueError
    ├── DefinitionInvalid             also a ValueError
    ├── WrongTenant
    ├── TenantNotActive
    ├── NotMigrated
    ├── DatabaseNotSupported
    ├── PromptRenderError
    ├── ModelNotAvailable
    ├── ProviderConfigInvalid
    ├── BudgetExceeded
    ├── RateLimitExceeded
    ├── LLMTimeoutError
    ├── LLMAPIError                   ContextWindowExceeded, ContentPolicyViolation
    ├── PriceUnknown
    ├── LLMFileError
    ├── SessionNotOwned
    ├── LogUnavailable
    ├── RunError                      RunNotFound, RunNotFinished, RunFailed, RunCancelled (a RunFailed),
    │                                 RunStateUnreadable, QueueUnavailable, NotAwaitingApproval,
    │                                 RunNotReplayable, DecisionNotAllowed
    ├── ToolError                     ToolNotFound, ToolTimeout, ToolExecutionError, ToolDeclarationInvalid
    └── OutputError                   OutputParseError, OutputValidationError, OutputSchemaInvalid

``str(error)`` says what happened, to which object, and what to do. It contains no prompt and no credential.
The values that a program needs are attributes.
"""

from .base import (
    DatabaseNotSupported,
    DefinitionInvalid,
    DisabledError,
    NotFoundError,
    NotMigrated,
    TenantNotActive,
    WrongTenant,
    ZangoAIError,
    is_time_limit,
)
from .output import OutputError, OutputParseError, OutputSchemaInvalid, OutputValidationError
from .providers import (
    BudgetExceeded,
    ContentPolicyViolation,
    ContextWindowExceeded,
    LLMAPIError,
    LLMTimeoutError,
    ModelNotAvailable,
    PriceUnknown,
    ProviderConfigInvalid,
    ProviderDisabled,
    ProviderNotFound,
    RateLimitExceeded,
)
from .runs import (
    AgentDisabled,
    AgentNotFound,
    DecisionNotAllowed,
    InputRequired,
    LLMFileError,
    LogUnavailable,
    NotAwaitingApproval,
    PromptNotFound,
    PromptRenderError,
    QueueUnavailable,
    RunCancelled,
    RunError,
    RunFailed,
    RunNotFinished,
    RunNotFound,
    RunNotReplayable,
    RunStateUnreadable,
    SessionNotOwned,
)
from .tools import ToolDeclarationInvalid, ToolError, ToolExecutionError, ToolNotFound, ToolTimeout

__all__ = [
    "AgentDisabled",
    "AgentNotFound",
    "BudgetExceeded",
    "ContentPolicyViolation",
    "ContextWindowExceeded",
    "DatabaseNotSupported",
    "DecisionNotAllowed",
    "DefinitionInvalid",
    "DisabledError",
    "InputRequired",
    "LLMAPIError",
    "LLMFileError",
    "LLMTimeoutError",
    "LogUnavailable",
    "ModelNotAvailable",
    "NotAwaitingApproval",
    "NotFoundError",
    "NotMigrated",
    "OutputError",
    "OutputParseError",
    "OutputSchemaInvalid",
    "OutputValidationError",
    "PriceUnknown",
    "PromptNotFound",
    "PromptRenderError",
    "ProviderConfigInvalid",
    "ProviderDisabled",
    "ProviderNotFound",
    "QueueUnavailable",
    "RateLimitExceeded",
    "RunCancelled",
    "RunError",
    "RunFailed",
    "RunNotFinished",
    "RunNotFound",
    "RunNotReplayable",
    "RunStateUnreadable",
    "SessionNotOwned",
    "TenantNotActive",
    "ToolDeclarationInvalid",
    "ToolError",
    "ToolExecutionError",
    "ToolNotFound",
    "ToolTimeout",
    "WrongTenant",
    "ZangoAIError",
    "is_time_limit",
]
