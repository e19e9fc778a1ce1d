"""Read a ``ModelAnswer`` from litellm's reply: text, tool calls, usage, cost."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from typing import Any

from ..sanitize import sendable
from ..types import LLMUsage, ModelAnswer, Price, StopReason, ToolRequest
from . import prices
from .call_trace import CallTrace
from .masking import Mask
from .unreadable_arguments import UnreadableArguments

_STOP_REASONS: dict[str, StopReason] = {"length": "max_tokens", "content_filter": "refusal"}
_MAX_COUNT = 10**12
"""More than any vendor counts, and less than a database column holds."""


def read(reply: Any, trace: CallTrace, model: str, price: Price | None, mask: Mask) -> ModelAnswer:
    """The answer exactly as the model gave it, except that ``mask`` replaces credentials: a gateway may echo them.

    ``model`` is the requested name, used if the reply names none.
    """
    choice = reply.choices[0]
    content = choice.message.content or ""
    if not isinstance(content, str):
        raise TypeError(f"The answer's content is a {type(content).__name__}, not text")
    usage, reasoning_tokens = _usage(reply)
    if price is None or usage == LLMUsage():  # a server that counts nothing: the cost is not known
        cost = None
    else:
        cost = prices.cost_of(usage, price, reasoning_tokens=reasoning_tokens)
    return ModelAnswer(
        content=mask.apply(content),
        model=mask.apply(str(reply.model or model)),
        stop_reason=_STOP_REASONS.get(choice.finish_reason, "end_turn"),
        usage=usage,
        cost_usd=cost,
        request_params=trace.request_params,
        tool_calls=tuple(_tool_calls(choice.message, trace.unreadable_arguments, mask)),
    )


def _tool_calls(message: Any, unreadable: UnreadableArguments, mask: Mask) -> Iterator[ToolRequest]:
    """The tool calls, each with a unique id: some servers send no ids, or the same id twice."""
    seen: set[str] = set()
    for call in getattr(message, "tool_calls", None) or ():
        key = mask.apply(sendable(str(call.id or "")))
        if not key or key in seen:
            key = f"call_{secrets.token_hex(12)}"
        seen.add(key)
        name, arguments = (str(getattr(call.function, field, None) or "") for field in ("name", "arguments"))
        yield ToolRequest(key, mask.apply(name), mask.apply(unreadable.restore(arguments)))


def _usage(reply: Any) -> tuple[LLMUsage, int]:
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
