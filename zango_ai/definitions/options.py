"""The options of ``define_agent()`` and ``define_provider()``, as type checkers see them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any, Literal, TypedDict

from ..encryption.credentials import Credentials
from ..models import Prompt, Provider


class FallbackOptions(TypedDict, total=False):
    """A fallback of an agent."""

    provider: str | Provider
    model: str
    """Without it, the provider's default model."""


class AgentOptions(TypedDict, total=False):
    """The options of ``define_agent()``. All are optional; a new agent needs a ``provider``."""

    provider: str | Provider
    model: str
    """``""``: the provider's default model."""
    system_prompt: str | Prompt | None
    """The text, or a prompt that several agents use. None: no prompt."""
    user_prompt: str | Prompt | None
    """The text with its placeholders, or a prompt that several agents use. None: no prompt."""
    change_description: str
    """What has changed in the prompts' texts, for the history of their versions."""
    description: str
    temperature: float
    max_tokens: int
    timeout_seconds: int
    output_schema: Literal["text", "json", "markdown"]
    output_json_schema: Any
    """A JSON schema as a dict, a pydantic model or a dataclass. It sets ``output_schema`` to ``"json"``, unless
    that is given too. None: any JSON."""
    output_retries: int
    tools: Sequence[str | Callable[..., Any]]
    """All tools of the agent, by name or as functions declared with ``@tool``."""
    max_tool_rounds: int
    auto_approve_system_runs: bool
    approval_by_another_person: bool
    short_term_memory: bool
    short_term_memory_max_messages: int
    fallbacks: Sequence[str | Provider | FallbackOptions]
    """All fallbacks of the agent, the first to try first."""
    is_public_api: bool
    is_enabled: bool
    monthly_budget_usd: Decimal | float | None
    budget_reset_day: int
    budget_alert_threshold: int


class ModelOptions(TypedDict, total=False):
    """A model that a provider allows."""

    display_name: str
    input_cost_per_mtok: Decimal | float | None
    output_cost_per_mtok: Decimal | float | None
    accepts_schema: bool | None
    accepts_tools: bool | None
    accepts_images: bool | None
    accepts_documents: bool | None
    rate_limit_rpm: int | None
    rate_limit_tpm: int | None
    is_enabled: bool


class ProviderOptions(TypedDict, total=False):
    """The options of ``define_provider()``. All are optional; a new provider needs a ``kind``."""

    kind: str
    """``openai``, ``anthropic``, ``openai_compatible`` and so on: a key of ``zango_ai.providers.kinds.KINDS``."""
    credentials: Mapping[str, Any] | Credentials
    """``api_key``, ``api_base`` and what else the kind takes. They replace those that are saved."""
    default_model: str
    models: Sequence[str] | Mapping[str, ModelOptions]
    """Models to allow, by name, or with their prices and abilities. Others that are saved stay."""
    description: str
    rate_limit_rpm: int | None
    rate_limit_tpm: int | None
    allow_unpriced: bool
    max_retries: int
    is_enabled: bool
    monthly_budget_usd: Decimal | float | None
    budget_reset_day: int
    budget_alert_threshold: int
