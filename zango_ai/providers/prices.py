"""What a round costs: the tokens that the provider counted, each kind at its own rate, in exact decimals.

The rates come from litellm's bundled list, and from the provider's ``ProviderModel`` row where it sets them.
litellm's own per-call pricing is not used: it writes one tenant's price into a list that all tenants share.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from ..types import LLMUsage, ModelSpec, Price
from . import gate
from .kinds import KINDS

_MTOK = Decimal(1_000_000)
_CENT_FRACTION = Decimal("0.00000001")


def find_price(kind: str, model: str, override: ModelSpec | None) -> Price | None:
    """None where neither the list nor the override knows both rates."""
    listed = _listed(KINDS[kind].price_list, model)
    input_usd = _rate(listed, "input_cost_per_token")
    output_usd = _rate(listed, "output_cost_per_token")
    scale = Decimal(1)
    if override is not None and override.input_cost_per_mtok is not None:
        overridden = override.input_cost_per_mtok / _MTOK
        # A negotiated price moves the cache prices with it.
        scale = overridden / input_usd if input_usd else scale
        input_usd = overridden
    if override is not None and override.output_cost_per_mtok is not None:
        output_usd = override.output_cost_per_mtok / _MTOK
    if input_usd is None or output_usd is None:
        return None
    read_usd = _rate(listed, "cache_read_input_token_cost")
    creation_usd = _rate(listed, "cache_creation_input_token_cost")
    return Price(
        input_usd=input_usd,
        output_usd=output_usd,
        cache_read_usd=input_usd if read_usd is None else read_usd * scale,
        cache_creation_usd=input_usd if creation_usd is None else creation_usd * scale,
    )


def cost_of(usage: LLMUsage, price: Price) -> Decimal:
    """USD, to eight places."""
    plain = usage.input_tokens - usage.cache_read_tokens - usage.cache_creation_tokens
    total = (
        max(plain, 0) * price.input_usd
        + usage.cache_read_tokens * price.cache_read_usd
        + usage.cache_creation_tokens * price.cache_creation_usd
        + usage.output_tokens * price.output_usd
    )
    return total.quantize(_CENT_FRACTION)


def _listed(vendor: str | None, model: str) -> dict[str, Any]:
    if vendor is None:
        return {}
    prices = gate.load().model_cost
    for key in (f"{vendor}/{model}", model):
        entry = prices.get(key)
        if entry and entry.get("litellm_provider") == vendor:
            return dict(entry)
    return {}


def _rate(listed: dict[str, Any], key: str) -> Decimal | None:
    value = listed.get(key)
    return None if value is None else Decimal(str(value))
