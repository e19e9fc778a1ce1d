"""The response of a run and its parts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from types import UnionType
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeAlias, get_args
from uuid import UUID

if TYPE_CHECKING:
    from typing_extensions import TypeVar

    Parsed = TypeVar("Parsed", default=Any | None)
    Parsed_co = TypeVar("Parsed_co", default=Any | None, covariant=True)
else:  # typing_extensions is needed for the defaults, which only type checkers use
    from typing import TypeVar

    Parsed = TypeVar("Parsed")
    Parsed_co = TypeVar("Parsed_co", covariant=True)

OutputTypeArgument: TypeAlias = type[Parsed] | Mapping[str, Any] | UnionType | None
"""What ``run(output_type=...)`` takes. With a class, ``parsed_content`` is an instance of it."""

StopReason = Literal["end_turn", "max_tokens", "max_tool_rounds", "refusal", "approval_required"]
Trigger = Literal["user", "task", "system"]
TRIGGERS: tuple[str, ...] = get_args(Trigger)
ChunkType = Literal["text", "tool_call", "tool_result", "round_end", "reset", "final"]


@dataclass(frozen=True, slots=True)
class LLMUsage:
    """Token counts, as the provider reports them."""

    input_tokens: int = 0
    """All input tokens, including both cache counts."""
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
    """A tool call of a run, with its result."""

    id: str
    name: str
    input: Mapping[str, Any]
    """The arguments. Empty if the model's arguments are not a JSON object."""
    result: Any = None
    """What the model received."""
    status: str = "success"
    """Or ``error``, ``timeout``, ``invalid_arguments``, ``rate_limited``, ``denied``, ``expired``,
    ``awaiting_approval``; ``running`` in a stream, before the tool is executed."""


@dataclass(frozen=True, slots=True)
class PendingApproval:
    """A tool call that waits for a person's approval. Decide it with ``Agent.resume()``."""

    id: str
    tool_name: str
    arguments: Mapping[str, Any]
    """As the model wrote them."""
    expires_at: datetime
    """After this time, the call counts as denied."""
    description: str = ""
    """What the call does, in the words of ``@tool(describe=...)``; without it, the tool's name and arguments."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LLMResponse(Generic[Parsed_co]):
    """What ``Agent.run()`` returns, and the last chunk of ``Agent.stream()`` has."""

    content: str
    """The model's last text; ``""`` if there is none."""
    parsed_content: Parsed_co = None  # type: ignore[assignment]  # a run without JSON output has no other type
    """The parsed JSON of ``content``, if the agent's output is JSON. With ``output_type``, an instance of it; None
    while the run waits for approvals."""
    session_id: str | None = None
    """Pass it to the next ``run()`` to continue the conversation. None if the agent has no memory."""
    cost_usd: float
    """The cost of all rounds. 0.0 if ``is_cost_known`` is False."""
    is_cost_known: bool
    """False if the price of the model is unknown."""
    usage: LLMUsage
    """The sum of all rounds."""
    model: str
    """The model that the provider reports. It may be more specific than the configured one."""
    latency_ms: int
    """Wall-clock time of the whole run."""
    time_to_first_token_ms: int | None = None
    """Wall-clock time from the start of the run to the model's first token. None if the run was not streamed."""
    stop_reason: StopReason
    tool_calls: list[LLMToolCall] = field(default_factory=list)
    """The tool calls of all rounds, in order."""
    pending_approvals: list[PendingApproval] = field(default_factory=list)
    """Not empty if ``stop_reason`` is ``approval_required``."""
    invocation_id: int
    run_id: UUID


@dataclass(frozen=True, slots=True, kw_only=True)
class LLMStreamChunk(Generic[Parsed_co]):
    """One chunk of ``Agent.stream()``."""

    type: ChunkType
    """``text``: the next piece of the model's text. ``tool_call``: a tool is about to be executed. ``tool_result``:
    it has ended. ``round_end``: the answer of this round is complete. ``reset``: the text since the last
    ``round_end`` is void, because the model is asked again. ``final``: the run has ended."""
    number: int
    """From 1, without gaps in one run."""
    text: str = ""
    tool_call: LLMToolCall | None = None
    """Of ``tool_call`` and ``tool_result``."""
    response: LLMResponse[Parsed_co] | None = None
    """Of ``final``: what ``Agent.run()`` would have returned."""

    @property
    def delta_text(self) -> str:
        """The text to append; ``""`` if the chunk has none."""
        return self.text

    @property
    def is_final(self) -> bool:
        return self.type == "final"

    @property
    def usage(self) -> LLMUsage | None:
        """Of ``final``: the sum of all rounds."""
        return None if self.response is None else self.response.usage
