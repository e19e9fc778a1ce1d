"""Everything that ``zango_ai`` raises on purpose.

::

    ZangoAIError
    ├── NotFoundError                 AgentNotFound, ProviderNotFound, PromptNotFound
    ├── DisabledError                 AgentDisabled, ProviderDisabled
    ├── WrongTenant
    ├── TenantNotActive
    ├── NotMigrated
    ├── PromptRenderError
    ├── InputRequired                 also a ValueError
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
    ├── NotAwaitingApproval
    ├── RunError                      RunNotFound, RunNotFinished, RunFailed, RunStateUnreadable, QueueUnavailable
    ├── ToolError                     ToolNotFound, ToolTimeout, ToolExecutionError, ToolDeclarationInvalid
    └── OutputError                   OutputParseError, OutputValidationError, OutputSchemaInvalid

``str(error)`` says what happened, where, and what to do next. It holds no prompt and no credential;
the values that a program needs are attributes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any


class ZangoAIError(Exception):
    """The base of every error here: ``except ZangoAIError`` catches them all."""

    invocation_id: int | None = None
    """Primary key of the ``Invocation`` row that recorded the failure. None where no run had begun."""

    may_be_billed: bool = False
    """Whether the provider may have worked on a request that it did not answer: then its cost is not known."""

    request_params: Mapping[str, Any] = {}
    """What was sent to the provider beside messages and tools, where something was."""

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickles carry message and attributes, past constructors that take more than a message."""
        return _unpickle, (type(self), self.args, dict(vars(self)))


def _unpickle(kind: type[ZangoAIError], args: tuple[Any, ...], values: dict[str, Any]) -> ZangoAIError:
    error = kind.__new__(kind, *args)
    error.args = args
    vars(error).update(values)
    return error


class NotFoundError(ZangoAIError):
    """The tenant has no such object."""

    def __init__(self, name: str, message: str) -> None:
        super().__init__(message)
        self.name = name


class DisabledError(ZangoAIError):
    """The object is there, and switched off."""

    def __init__(self, name: str, message: str) -> None:
        super().__init__(message)
        self.name = name


class AgentNotFound(NotFoundError):
    """No enabled agent of that name in the current tenant, or no tenant is active."""


class AgentDisabled(DisabledError):
    """The agent was switched off after ``get_agent()`` found it."""


class ProviderNotFound(NotFoundError):
    """No provider of that name in the current tenant."""


class ProviderDisabled(DisabledError):
    """The agent's provider is switched off."""


class PromptNotFound(NotFoundError):
    """No prompt of that name in the current tenant, or it has no active version."""


class WrongTenant(ZangoAIError):
    """An ``Agent`` was used in another tenant than the one it was looked up in."""

    def __init__(self, schema: str, message: str) -> None:
        super().__init__(message)
        self.schema = schema


class TenantNotActive(ZangoAIError):
    """A task was queued where no tenant was active, or its tenant is gone; nothing was run.

    ``schema`` is the one that it was queued in; None where that is not known.
    """

    # Celery makes errors anew from their message alone.
    def __init__(self, message: str, *, schema: str | None = None) -> None:
        super().__init__(message)
        self.schema = schema


class NotMigrated(ZangoAIError):
    """A tenant's schema lacks tables or columns of ``zango_ai``: its migrations have not been applied."""

    def __init__(self, schema: str, message: str) -> None:
        super().__init__(message)
        self.schema = schema


class PromptRenderError(ZangoAIError):
    """A placeholder of the prompt has no value."""

    def __init__(self, missing_vars: Sequence[str], message: str) -> None:
        super().__init__(message)
        self.missing_vars = list(missing_vars)


class InputRequired(ZangoAIError, ValueError):
    """The agent has been given nothing to answer."""

    def __init__(self, name: str, message: str) -> None:
        super().__init__(message)
        self.name = name


class ModelNotAvailable(ZangoAIError):
    """The provider has a list of models, and the agent's model is not enabled on it."""

    def __init__(self, model: str, provider_name: str, message: str) -> None:
        super().__init__(message)
        self.model = model
        self.provider_name = provider_name


class ProviderConfigInvalid(ZangoAIError):
    """The provider cannot be called as it is configured; nothing was sent."""

    def __init__(self, provider_name: str, message: str, *, field: str | None = None) -> None:
        super().__init__(message)
        self.provider_name = provider_name
        self.field = field


class BudgetExceeded(ZangoAIError):
    """The call could cost more than a monthly budget has left, so nothing was sent.

    ``agent_name`` is None where it is the provider's budget, else it is the agent's own.
    """

    def __init__(
        self, provider_name: str, budget_limit: Decimal, message: str, *, agent_name: str | None = None
    ) -> None:
        super().__init__(message)
        self.provider_name = provider_name
        self.budget_limit = budget_limit
        self.agent_name = agent_name


class RateLimitExceeded(ZangoAIError):
    """The provider answered 429, or a limit that the tenant has set is used up.

    ``is_own_limit`` is True for the tenant's: nothing was sent, and after ``retry_after_seconds`` a run passes
    if no other came first. ``is_retryable`` is False where waiting does not help: the account has no quota left.
    """

    def __init__(
        self,
        message: str,
        *,
        retry_after_seconds: float | None = None,
        is_retryable: bool = True,
        is_own_limit: bool = False,
    ) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds
        self.is_retryable = is_retryable
        self.is_own_limit = is_own_limit


class LLMTimeoutError(ZangoAIError):
    """The provider did not answer within the agent's ``timeout_seconds``."""


class LLMAPIError(ZangoAIError):
    """The provider answered with an error, or could not be reached.

    ``status_code`` is the HTTP status, None where there was no answer.
    ``original_error`` is litellm's exception with credentials and traceback taken out.
    ``is_retryable`` says that the fault is the provider's and may pass: 5xx, or no answer; then
    ``retry_after_seconds`` is what the provider asked to wait, if it did.
    """

    is_json_form_refused = False
    """The provider refused the form in which JSON was asked for: the next call asks in a looser one."""

    def __init__(
        self,
        message: str,
        *,
        status_code: int | None = None,
        original_error: Exception | None = None,
        is_retryable: bool | None = None,
        retry_after_seconds: float | None = None,
    ) -> None:
        super().__init__(message)
        self.status_code = status_code
        self.original_error = original_error
        self.retry_after_seconds = retry_after_seconds
        passing = status_code is None or status_code >= 500
        self.is_retryable = passing if is_retryable is None else is_retryable


class ContextWindowExceeded(LLMAPIError):
    """The request is longer than the model can take."""


class ContentPolicyViolation(LLMAPIError):
    """The provider refused the request for what it says."""


class PriceUnknown(ZangoAIError):
    """There is a budget and the model has no price, so nothing was sent."""

    def __init__(self, model: str, provider_name: str, message: str) -> None:
        super().__init__(message)
        self.model = model
        self.provider_name = provider_name


class SessionNotOwned(ZangoAIError):
    """The session was opened with another ``user_ref``; nothing was sent, and nothing of it is told."""

    def __init__(self, session_id: str, message: str) -> None:
        super().__init__(message)
        self.session_id = session_id


class LLMFileError(ZangoAIError):
    """A file cannot be read, is not what it is said to be, or cannot be sent to the model; nothing was sent."""

    def __init__(self, filename: str, message: str) -> None:
        super().__init__(message)
        self.filename = filename


class LogUnavailable(ZangoAIError):
    """The run's row cannot be written, so nothing was sent."""


class NotAwaitingApproval(ZangoAIError):
    """The run waits for nobody's approval: it does not exist, has been decided already, or never did wait."""

    def __init__(self, run_id: Any, message: str) -> None:
        super().__init__(message)
        self.run_id = run_id


class RunError(ZangoAIError):
    """Of a run in the background."""

    def __init__(self, run_id: Any, message: str) -> None:
        super().__init__(message)
        self.run_id = run_id


class RunNotFound(RunError):
    """The current tenant has no run of that id."""


class RunStateUnreadable(RunError):
    """The run cannot go on in this process: a newer release has stored its state. It keeps waiting."""


class RunNotFinished(RunError):
    """The run has no answer yet."""

    def __init__(self, run_id: Any, status: str, message: str) -> None:
        super().__init__(run_id, message)
        self.status = status


class RunFailed(RunError):
    """The run has ended with an error. ``error_type`` is the class of what it raised, the text its message."""

    def __init__(self, run_id: Any, status: str, error_type: str, message: str, invocation_id: int) -> None:
        super().__init__(run_id, f"Run {run_id} has ended as {status}. {error_type}: {message}")
        self.status = status
        self.error_type = error_type
        self.invocation_id = invocation_id


class QueueUnavailable(RunError):
    """The broker did not take the task, so nobody will run it; the row says so."""


class ToolError(ZangoAIError):
    """A tool cannot be called, or has not done its work.

    A run goes on after those that happen within it: they are on the row of the call, and the model is told.
    """

    def __init__(self, tool_name: str, message: str) -> None:
        super().__init__(message)
        self.tool_name = tool_name


class ToolNotFound(ToolError):
    """No function is declared under that name."""


class ToolTimeout(ToolError):
    """The function did not return within its ``timeout_seconds``."""


class ToolExecutionError(ToolError):
    """The function raised, broke its transaction, or returned what has no form in JSON."""


class ToolDeclarationInvalid(ToolError, TypeError):
    """What ``@tool`` decorates cannot be a tool. The message names file and line."""


class OutputError(ZangoAIError):
    """The answer is not what the agent promises, or the promise cannot be held against it."""


class OutputSchemaInvalid(OutputError):
    """The agent's JSON schema is no valid schema."""


class OutputParseError(OutputError):
    """The answer is not JSON. ``content`` is the answer as it came; ``reason`` what is wrong with it."""

    def __init__(self, content: str, message: str, *, reason: str | None = None) -> None:
        super().__init__(message)
        self.content = content
        self.reason = message if reason is None else reason


class OutputValidationError(OutputError):
    """The answer is JSON and does not match the agent's schema.

    ``errors`` lists the mismatches, up to 100, as ``{"path": "$.items[0].price", "message": ...}`` in the order
    of the document; ``field`` is the path of the first.
    """

    def __init__(self, errors: Sequence[Mapping[str, str]], message: str) -> None:
        super().__init__(message)
        self.errors = [dict(error) for error in errors]
        self.field = self.errors[0]["path"] if self.errors else None


_TIME_LIMITS = {"SoftTimeLimitExceeded", "TimeLimitExceeded", "JobTimeoutException", "TaskTimeout"}


def is_time_limit(exc: BaseException) -> bool:
    """Whether a task queue has raised it in the middle of whatever was running: Celery's, RQ's, huey's."""
    return type(exc).__name__ in _TIME_LIMITS
