"""Errors of providers: their configuration, limits and answers."""

from __future__ import annotations

from decimal import Decimal

from .base import DisabledError, NotFoundError, ZangoAIError


class ProviderNotFound(NotFoundError):
    """The current tenant has no provider of that name."""


class ProviderDisabled(DisabledError):
    """The agent's provider is disabled."""


class ProviderConfigInvalid(ZangoAIError):
    """The provider's configuration is incomplete or invalid; nothing was sent. ``field`` is the field at fault."""

    def __init__(self, provider_name: str, message: str, *, field: str | None = None) -> None:
        super().__init__(message)
        self.provider_name = provider_name
        self.field = field


class _ModelError(ZangoAIError):
    def __init__(self, model: str, provider_name: str, message: str) -> None:
        super().__init__(message)
        self.model = model
        self.provider_name = provider_name


class ModelNotAvailable(_ModelError):
    """The model is not enabled on the provider's list of models."""


class PriceUnknown(_ModelError):
    """A budget is set and the model has no price, so nothing was sent."""


class BudgetExceeded(ZangoAIError):
    """The call could cost more than the monthly budget has left, so nothing was sent.

    ``agent_name`` is None if it is the provider's budget; otherwise it is that agent's.
    """

    def __init__(
        self, provider_name: str, budget_limit: Decimal, message: str, *, agent_name: str | None = None
    ) -> None:
        super().__init__(message)
        self.provider_name = provider_name
        self.budget_limit = budget_limit
        self.agent_name = agent_name


class RateLimitExceeded(ZangoAIError):
    """The provider answered 429, or the tenant's own rate limit is exhausted.

    ``is_own_limit`` is True for the tenant's own limit: nothing was sent, and a run after
    ``retry_after_seconds`` passes unless another one is faster. ``is_retryable`` is False if waiting does not
    help because the account's quota is exhausted.
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

    ``status_code`` is the HTTP status; None if there was no answer.
    ``original_error`` is litellm's exception without credentials and traceback.
    ``is_retryable`` is True for errors that may pass: a 5xx, or no answer. ``retry_after_seconds`` is then the
    wait that the provider asked for, if any.
    """

    is_json_form_refused = False
    """Whether the provider refused the way of asking for JSON. The next call uses a less strict one."""

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
        is_server_error = status_code is None or status_code >= 500
        self.is_retryable = is_server_error if is_retryable is None else is_retryable


class ContextWindowExceeded(LLMAPIError):
    """The request is longer than the model's context window."""


class ContentPolicyViolation(LLMAPIError):
    """The provider refused the request because of its content."""
