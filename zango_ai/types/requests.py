"""One round: the request to the model, its estimated cost, and the answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Literal

from ..files.file import LLMFile
from .messages import LLMMessage, ToolRequest
from .responses import LLMUsage, StopReason

JSONForm = Literal["schema", "object", "words"]
"""How to ask for JSON, strictest first: by JSON schema, by the vendor's JSON mode, by the system prompt."""


@dataclass(frozen=True, slots=True)
class ToolSchema:
    """A tool as the model sees it."""

    name: str
    description: str
    parameters: Mapping[str, Any] = field(hash=False)


@dataclass(frozen=True, slots=True)
class ModelRequest:
    """The request of one round. A provider converts it to its own wire format."""

    model: str
    messages: tuple[LLMMessage, ...]
    temperature: float
    max_tokens: int
    timeout_s: float
    wants_json: bool = False
    json_schema: Mapping[str, Any] | None = None
    """The schema of the JSON output, if there is one."""
    tools: tuple[ToolSchema, ...] = ()
    """The tools that the model may call."""
    json_form: JSONForm = "words"
    """How to ask for JSON. ``providers.calls.prepare()`` sets it for one provider and model."""

    @property
    def files(self) -> tuple[LLMFile, ...]:
        return tuple(file for message in self.messages for file in message.files)


@dataclass(frozen=True, slots=True)
class Estimate:
    """An upper bound on what one call uses. The ledger reserves it before the call."""

    tokens: int
    """Input and output."""
    cost_usd: Decimal | None
    """None if the price of the model is unknown."""


@dataclass(frozen=True, slots=True)
class ModelAnswer:
    """The model's answer in one round."""

    content: str
    model: str
    stop_reason: StopReason
    usage: LLMUsage
    cost_usd: Decimal | None
    """None if the price of the model is unknown; never 0 for unknown."""
    request_params: Mapping[str, Any]
    """The parameters that were sent beside the messages, without credentials."""
    tool_calls: tuple[ToolRequest, ...] = ()
    """The tools that the model asks to call before it answers."""
    time_to_first_token_ms: int | None = None
    """Only of a streamed answer."""
    is_usage_estimated: bool = False
    """Whether the vendor reported no usage, so that ``usage`` and ``cost_usd`` are estimates."""
