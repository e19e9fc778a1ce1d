"""What a call costs: the tokens that the vendor counted, each kind at its own rate, in exact decimals.

litellm's own pricing is not used: it writes one tenant's price into a list that all tenants share.
"""

from __future__ import annotations

from decimal import ROUND_UP, Decimal

from ..types import LLMUsage, Price

_EIGHT_PLACES = Decimal("0.00000001")
_MAX_USD = Decimal(10) ** 10
"""The most that the log can hold, whatever usage a vendor sends."""


def cost_of(usage: LLMUsage, price: Price, *, reasoning_tokens: int = 0) -> Decimal:
    """USD, to eight places. ``reasoning_tokens`` is the part of the output tokens that was reasoning."""
    input_usd = price.rate("input_cost_per_token", usage.input_tokens)
    output_usd = price.rate("output_cost_per_token", usage.input_tokens)
    read_usd = price.rate("cache_read_input_token_cost", usage.input_tokens, input_usd)
    creation_usd = price.rate("cache_creation_input_token_cost", usage.input_tokens, input_usd)
    reasoning_usd = price.rate("output_cost_per_reasoning_token", usage.input_tokens, output_usd)
    plain = max(usage.input_tokens - usage.cache_read_tokens - usage.cache_creation_tokens, 0)
    text = max(usage.output_tokens - reasoning_tokens, 0)
    total = (
        plain * input_usd
        + usage.cache_read_tokens * read_usd
        + usage.cache_creation_tokens * creation_usd
        + text * output_usd
        + reasoning_tokens * reasoning_usd
    )
    return min(total, _MAX_USD).quantize(_EIGHT_PLACES)


def ceiling_of(input_tokens: int, output_tokens: int, price: Price) -> Decimal:
    """USD, rounded up, if all tokens cost the higher rate: cache writes for input, reasoning for output."""
    input_usd = price.rate("input_cost_per_token", input_tokens)
    output_usd = price.rate("output_cost_per_token", input_tokens)
    creation_usd = price.rate("cache_creation_input_token_cost", input_tokens, input_usd)
    reasoning_usd = price.rate("output_cost_per_reasoning_token", input_tokens, output_usd)
    total = input_tokens * max(input_usd, creation_usd) + output_tokens * max(output_usd, reasoning_usd)
    return min(total, _MAX_USD).quantize(_EIGHT_PLACES, rounding=ROUND_UP)
