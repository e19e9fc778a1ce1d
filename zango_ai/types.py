"""The values that travel: what a caller hands in and gets back, and what the engine works on.

All are frozen; none knows the database or a provider.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any, Literal, Protocol, get_args
from uuid import UUID

from . import arguments
from .files.file import LLMFile

Role = Literal["system", "user", "assistant", "tool"]
StopReason = Literal["end_turn", "max_tokens", "max_tool_rounds", "refusal", "approval_required"]
Trigger = Literal["user", "task", "system"]
OutputSchema = Literal["text", "json", "markdown"]
JSONForm = Literal["schema", "object", "words"]
"""A JSON schema, a vendor's JSON mode, or words in the system prompt: from the strictest to the loosest."""

ROLES: tuple[str, ...] = get_args(Role)
TRIGGERS: tuple[str, ...] = get_args(Trigger)


@dataclass(frozen=True, slots=True)
class ToolRequest:
    """A call of a tool as the model asks for it."""

    id: str
    name: str
    arguments: str
    """JSON as the model wrote it, which may be broken."""


@dataclass(frozen=True, slots=True)
class LLMMessage:
    """One message of a conversation, as given to ``run(messages=[...])``."""

    role: Role
    content: str
    tool_calls: tuple[ToolRequest, ...] = ()
    """What an assistant's message asks for; a ``tool`` message answers each."""
    tool_call_id: str = ""
    """Of a ``tool`` message: the call that it answers."""
    files: tuple[LLMFile, ...] = ()
    """They go before the text."""

    @property
    def texts(self) -> Iterator[str]:
        """Everything in it that is sent."""
        yield self.content
        for call in self.tool_calls:
            yield f"{call.name} {call.arguments}"

    def __post_init__(self) -> None:
        arguments.require(self.role, str, "LLMMessage.role", "it as a str")
        if self.role not in ROLES:
            raise ValueError(f"LLMMessage.role is {self.role!r}; use one of {', '.join(ROLES)}.")
        arguments.require(self.content, str, "LLMMessage.content", "the text as a str")
        arguments.require(self.tool_call_id, str, "LLMMessage.tool_call_id", "the id as a str")
        if self.tool_calls != ():
            calls = arguments.as_tuple(self.tool_calls, ToolRequest, "LLMMessage.tool_calls")
            object.__setattr__(self, "tool_calls", calls)
        if self.files != ():
            object.__setattr__(self, "files", arguments.as_tuple(self.files, LLMFile, "LLMMessage.files"))


@dataclass(frozen=True, slots=True)
class LLMUsage:
    """Tokens, as the provider counted them."""

    input_tokens: int = 0
    """Everything that was sent; the two cache counts are parts of it."""
    output_tokens: int = 0
    cache_creation_tokens: int = 0
    cache_read_tokens: int = 0

    def __add__(self, other: LLMUsage) -> LLMUsage:
        return LLMUsage(
            self.input_tokens + other.input_tokens,
            self.output_tokens + other.output_tokens,
            self.cache_creation_tokens + other.cache_creation_tokens,
            self.cache_read_tokens + other.cache_read_tokens,
        )


@dataclass(frozen=True, slots=True)
class LLMToolCall:
    """A tool that the model called, and what came of it."""

    id: str
    name: str
    input: Mapping[str, Any]
    """The arguments; empty where what the model gave is no JSON object."""
    result: Any = None
    """What the model was told."""
    status: str = "success"
    """Or ``error``, ``timeout``, ``invalid_arguments``, ``rate_limited``, ``denied``, ``expired``,
    ``awaiting_approval``."""


@dataclass(frozen=True, slots=True)
class PendingApproval:
    """A tool call that a person has to decide: see ``Agent.resume()``."""

    id: str
    tool_name: str
    arguments: Mapping[str, Any]
    """As the model gave them."""
    expires_at: datetime
    """Afterwards it counts as denied."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LLMResponse:
    """What ``Agent.run()`` returns."""

    content: str
    """The model's last text; ``""`` where it gave none."""
    parsed_content: Any | None = None
    """The JSON value of ``content`` where the agent's output schema is JSON."""
    session_id: str | None = None
    """What continues this conversation; None where the agent has no memory."""
    cost_usd: float
    """All rounds. 0.0 where ``is_cost_known`` is False: then the price of the model is not known."""
    is_cost_known: bool
    usage: LLMUsage
    """All rounds."""
    model: str
    """As the provider reports it, which may be more exact than what was asked for."""
    latency_ms: int
    """Wall clock of the whole run."""
    stop_reason: StopReason
    tool_calls: list[LLMToolCall] = field(default_factory=list)
    """All rounds, in order."""
    pending_approvals: list[PendingApproval] = field(default_factory=list)
    """Not empty where ``stop_reason`` is ``approval_required``."""
    invocation_id: int
    run_id: UUID


@dataclass(frozen=True, slots=True)
class Price:
    """What a model costs, in USD for one token of each kind, by the names of litellm's price list."""

    rates: Mapping[str, Decimal]

    def rate(self, name: str, input_tokens: int, default: Decimal = Decimal(0)) -> Decimal:
        """The rate of that name for a request of so many tokens: long requests may cost more a token."""
        for limit in (512, 272, 200, 128, 100):
            tiered = self.rates.get(f"{name}_above_{limit}k_tokens")
            if tiered is not None and input_tokens > limit * 1000:
                return tiered
        return self.rates.get(name, default)


@dataclass(frozen=True, slots=True)
class PromptSpec:
    """The version of a prompt that is in force; no version and no content where none is active yet."""

    name: str
    version: int | None
    content: str | None


@dataclass(frozen=True, slots=True)
class Budget:
    """What may be spent in a month, which begins on ``reset_day`` in the tenant's time zone."""

    limit_usd: Decimal | None = None
    """None: no limit. 0: nothing may be spent."""
    reset_day: int = 1
    alert_percent: int = 80


@dataclass(frozen=True, slots=True)
class RateLimits:
    """How much may be sent in a minute; None: no limit."""

    requests: int | None = None
    tokens: int | None = None


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """A row of the provider's list of models. Costs are USD for a million tokens, None: not overridden."""

    model_id: str
    is_enabled: bool
    input_cost_per_mtok: Decimal | None = None
    output_cost_per_mtok: Decimal | None = None
    accepts_schema: bool | None = None
    """None: as the price list says. A self-hosted server is asked either way."""
    accepts_tools: bool | None = None
    """Only False keeps a model from being used with tools."""
    accepts_images: bool | None = None
    """None: as the price list says, and where that is silent, yes."""
    accepts_documents: bool | None = None
    rates: RateLimits = RateLimits()


class Secrets(Protocol):
    """A provider's credentials: a value for its name. A ``fields.Credentials`` at run time, which shows nothing."""

    def get(self, name: str, /) -> Any: ...


@dataclass(frozen=True, slots=True)
class ProviderSpec:
    """A provider as one run sees it."""

    id: int
    name: str
    kind: str
    credentials: Secrets = field(repr=False)
    default_model: str
    is_enabled: bool
    max_retries: int = 2
    """Further calls after a 429, a 5xx or a broken connection."""
    budget: Budget = Budget()
    rates: RateLimits = RateLimits()
    allow_unpriced: bool = False
    models: tuple[ModelSpec, ...] = ()
    """Empty: the provider may use any model."""
    xmin: str | None = None
    """The version of the row in PostgreSQL that was read; None: not known."""

    def allows(self, model_id: str) -> bool:
        listed = self.find_model(model_id)
        return not self.models or (listed is not None and listed.is_enabled)

    def find_model(self, model_id: str) -> ModelSpec | None:
        return next((model for model in self.models if model.model_id == model_id), None)


@dataclass(frozen=True, slots=True)
class Target:
    """A model at a provider: whom to ask."""

    provider: ProviderSpec
    model: str


@dataclass(frozen=True, slots=True)
class AgentSpec:
    """An agent's whole configuration, read at once, with the schema that it was read in."""

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
    """How often an answer that is not what it should be goes back to the model with its errors."""
    budget: Budget = Budget()
    has_memory: bool = False
    memory_pairs: int = 20
    """How many pairs of user and assistant are sent of a conversation."""
    tools: tuple[str, ...] = ()
    """Names of those that it may call."""
    max_tool_rounds: int = 10
    auto_approve_system_runs: bool = False
    """Whether a run that the system triggers waits for no approval."""
    fallbacks: tuple[Target, ...] = ()
    """Asked in this order where the ones before them cannot answer."""
    xmin: str | None = None
    """As in ``ProviderSpec``."""


@dataclass(frozen=True, slots=True)
class ToolSchema:
    """A tool as a model is told of it."""

    name: str
    description: str
    parameters: Mapping[str, Any] = field(hash=False)


@dataclass(frozen=True, slots=True)
class ModelRequest:
    """What one round asks of the model; a provider turns it into its own wire format."""

    model: str
    messages: tuple[LLMMessage, ...]
    temperature: float
    max_tokens: int
    timeout_s: float
    wants_json: bool = False
    json_schema: Mapping[str, Any] | None = None
    """What the JSON has to match, where that is known."""
    tools: tuple[ToolSchema, ...] = ()
    """What the model may call."""
    json_form: JSONForm = "words"
    """How the model is asked for JSON. ``chat.shaped()`` sets it, for one provider and model."""

    @property
    def files(self) -> tuple[LLMFile, ...]:
        return tuple(file for message in self.messages for file in message.files)


@dataclass(frozen=True, slots=True)
class Estimate:
    """The most that one call is expected to use: what is reserved before it."""

    tokens: int
    """Sent and received."""
    cost_usd: Decimal | None
    """None when the price of the model is not known."""


@dataclass(frozen=True, slots=True)
class ModelAnswer:
    """What the model said in one round."""

    content: str
    model: str
    stop_reason: StopReason
    usage: LLMUsage
    cost_usd: Decimal | None
    """None when the price of the model is not known. Never 0 for unknown."""
    request_params: Mapping[str, Any]
    """What was sent beside the messages, without credentials."""
    tool_calls: tuple[ToolRequest, ...] = ()
    """What it asks for before it answers."""
