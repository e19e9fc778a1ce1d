"""The configuration of an agent, read once at the start of a run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Literal, Protocol

OutputSchema = Literal["text", "json", "markdown"]
_PRICE_TIERS = (512, 272, 200, 128, 100)
"""The thousands of input tokens from which litellm's price list may have another rate."""


@dataclass(frozen=True, slots=True)
class Price:
    """The price of a model in USD per token, under the names of litellm's price list."""

    rates: Mapping[str, Decimal]

    def rate(self, name: str, input_tokens: int, default: Decimal = Decimal(0)) -> Decimal:
        """The rate for a request of that many input tokens. Long requests may have a higher one."""
        for limit in _PRICE_TIERS:
            tiered = self.rates.get(f"{name}_above_{limit}k_tokens")
            if tiered is not None and input_tokens > limit * 1000:
                return tiered
        return self.rates.get(name, default)


@dataclass(frozen=True, slots=True)
class PromptSpec:
    """The version of a prompt that a run uses: the active one, unless the run overrides it.

    ``version`` is None for a draft that is not saved. Both it and ``content`` are None if no version is active.
    """

    name: str
    version: int | None
    content: str | None


@dataclass(frozen=True, slots=True)
class Budget:
    """A monthly budget. Its month begins on ``reset_day`` in the tenant's time zone."""

    limit_usd: Decimal | None = None
    """None: no limit. 0: nothing may be spent."""
    reset_day: int = 1
    alert_percent: int = 80


@dataclass(frozen=True, slots=True)
class RateLimits:
    """Limits per minute. None: no limit."""

    requests: int | None = None
    tokens: int | None = None


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """A model on the provider's list. Costs are in USD per million tokens; None: use the price list."""

    model_id: str
    is_enabled: bool
    input_cost_per_mtok: Decimal | None = None
    output_cost_per_mtok: Decimal | None = None
    accepts_schema: bool | None = None
    """None: follow the price list. A self-hosted server is always sent the schema."""
    accepts_tools: bool | None = None
    """False: the model is not used with tools."""
    accepts_images: bool | None = None
    """None: follow the price list. If that does not say, images are sent."""
    accepts_documents: bool | None = None
    rates: RateLimits = RateLimits()


class Secrets(Protocol):
    """A provider's credentials by name. At run time a ``Credentials``, whose repr shows none of them."""

    def get(self, name: str, /) -> Any: ...


@dataclass(frozen=True, slots=True)
class ProviderSpec:
    """A provider's configuration."""

    id: int
    name: str
    kind: str
    credentials: Secrets = field(repr=False)
    default_model: str
    is_enabled: bool
    max_retries: int = 2
    """How many times to retry after a 429, a 5xx or a broken connection."""
    budget: Budget = Budget()
    rates: RateLimits = RateLimits()
    allow_unpriced: bool = False
    models: tuple[ModelSpec, ...] = ()
    """Empty: any model may be used."""
    xmin: str | None = None
    """PostgreSQL's version of the row that was read. None: unknown."""

    def allows(self, model_id: str) -> bool:
        listed = self.find_model(model_id)
        return not self.models or (listed is not None and listed.is_enabled)

    def find_model(self, model_id: str) -> ModelSpec | None:
        return next((model for model in self.models if model.model_id == model_id), None)


@dataclass(frozen=True, slots=True)
class Target:
    """A model on a provider, to which a request can be sent."""

    provider: ProviderSpec
    model: str


@dataclass(frozen=True, slots=True)
class AgentSpec:
    """An agent's configuration, with the schema that it was read from."""

    id: int
    name: str
    schema: str
    is_enabled: bool
    provider: ProviderSpec
    model: str
    system_prompt: PromptSpec | None
    user_prompt: PromptSpec | None
    temperature: float
    max_tokens: int
    timeout_seconds: int
    output_schema: OutputSchema
    output_json_schema: Mapping[str, Any] | None
    output_retries: int = 0
    """How many times to ask the model to fix invalid JSON."""
    budget: Budget = Budget()
    has_memory: bool = False
    memory_pairs: int = 20
    """How many past exchanges (user and assistant) to send with each request."""
    tools: tuple[str, ...] = ()
    """Names of the tools that the agent may call."""
    max_tool_rounds: int = 10
    auto_approve_system_runs: bool = False
    """Whether tool calls in system runs need no approval."""
    fallbacks: tuple[Target, ...] = ()
    """Tried in this order if the agent's own provider and model fail."""
    xmin: str | None = None
    """See ``ProviderSpec.xmin``."""
