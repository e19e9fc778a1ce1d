"""Read a ``ModelAnswer`` from litellm's reply: text, tool calls, usage, cost."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from ..argument_checks import type_of
from ..sanitize import sendable
from ..types import LLMUsage, ModelAnswer, Price, StopReason, ToolRequest
from . import prices
from .call_trace import CallTrace
from .masking import Mask
from .unreadable_arguments import UnreadableArguments

_STOP_REASONS: dict[str, StopReason] = {"length": "max_tokens", "content_filter": "refusal"}
_MAX_COUNT = 10**12
"""More than any vendor counts, and less than a database column holds."""


@dataclass(slots=True)
class RawToolCall:
    """A tool call as litellm gives it; of a stream, as far as it has arrived."""

    id: str = ""
    name: str = ""
    arguments: str = ""


def read(reply: Any, trace: CallTrace, model: str, price: Price | None, mask: Mask) -> ModelAnswer:
    """The answer exactly as the model gave it, except that ``mask`` replaces credentials: a gateway may echo them.

    ``model`` is the requested name, used if the reply names none.
    """
    choice = reply.choices[0]
    content = choice.message.content or ""
    if not isinstance(content, str):
        raise TypeError(f"The answer's content is {type_of(content)}, not text")
    usage, reasoning_tokens = read_usage(reply)
    calls = [raw_tool_call(call) for call in getattr(choice.message, "tool_calls", None) or ()]
    return ModelAnswer(
        content=mask.apply(content),
        model=mask.apply(str(reply.model or model)),
        stop_reason=read_stop_reason(choice.finish_reason),
        usage=usage,
        cost_usd=cost(usage, reasoning_tokens, price),
        request_params=trace.request_params,
        tool_calls=tuple(tool_requests(calls, trace.unreadable_arguments, mask)),
    )


def read_stop_reason(finish_reason: Any) -> StopReason:
    """The stop reason for litellm's finish reason."""
    return _STOP_REASONS.get(finish_reason, "end_turn")


def cost(usage: LLMUsage, reasoning_tokens: int, price: Price | None) -> Decimal | None:
    """None if it is not known: without a price, or for a server that counts nothing."""
    if price is None or usage == LLMUsage():
        return None
    return prices.cost_of(usage, price, reasoning_tokens=reasoning_tokens)


def raw_tool_call(call: Any) -> RawToolCall:
    """The texts of litellm's tool call, or of a part of one. A server may leave out any of them."""
    name, arguments = (str(getattr(call.function, field, None) or "") for field in ("name", "arguments"))
    return RawToolCall(str(call.id or ""), name, arguments)


def tool_requests(
    calls: Iterable[RawToolCall], unreadable: UnreadableArguments, mask: Mask
) -> Iterator[ToolRequest]:
    """The tool calls, each with a unique id: some servers send no ids, or the same id twice."""
    seen: set[str] = set()
    for call in calls:
        key = mask.apply(sendable(call.id))
        if not key or key in seen:
            key = f"call_{secrets.token_hex(12)}"
        seen.add(key)
        yield ToolRequest(key, mask.apply(call.name), mask.apply(unreadable.restore(call.arguments)))


def read_usage(reply: Any) -> tuple[LLMUsage, int]:
    """The usage, and how many of the output tokens were reasoning tokens."""
    counts = getattr(reply, "usage", None)
    input_details = getattr(counts, "prompt_tokens_details", None)
    output_details = getattr(counts, "completion_tokens_details", None)
    usage = LLMUsage(
        input_tokens=_count(counts, "prompt_tokens"),
        output_tokens=_count(counts, "completion_tokens"),
        cache_creation_tokens=_count(input_details, "cache_creation_tokens"),
        cache_read_tokens=_count(input_details, "cached_tokens"),
    )
    return usage, _count(output_details, "reasoning_tokens")


def _count(counts: Any, name: str) -> int:
    """A count of the vendor's, between 0 and ``_MAX_COUNT``."""
    return min(max(int(getattr(counts, name, 0) or 0), 0), _MAX_COUNT)
