"""What a round costs: the tokens that the provider counted, each kind at its own rate, in exact decimals.

The rates come from litellm's bundled list, and from the provider's ``ProviderModel`` row where it sets them.
litellm's own per-call pricing is not used: it writes one tenant's price into a list that all tenants share.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import ROUND_UP, Decimal
from functools import lru_cache
from typing import Any

from ..types import LLMUsage, ModelSpec, Price, ProviderSpec
from . import litellm_import
from .kinds import KINDS, Kind

_MTOK = Decimal(1_000_000)
_EIGHT_PLACES = Decimal("0.00000001")
_ABILITIES = {
    "schema": "supports_response_schema",
    "tools": "supports_function_calling",
    "images": "supports_vision",
    "documents": "supports_pdf_input",
}
_MOST_USD = Decimal(10) ** 10
"""What a vendor counts is not to be trusted: no call costs more than the log can hold."""


def find_price(provider: ProviderSpec, model: str) -> Price | None:
    """None where neither the list nor the provider's own row knows both rates."""
    listed = _overridden(_rates(KINDS[provider.kind], _named(provider, model)), provider.find_model(model))
    if listed.get("input_cost_per_token") is None or listed.get("output_cost_per_token") is None:
        return None
    return Price(listed)


def cost_of(usage: LLMUsage, price: Price, *, reasoning_tokens: int = 0) -> Decimal:
    """USD, to eight places. ``reasoning_tokens`` is the part of the output tokens that was reasoning."""
    input_usd = price.rate("input_cost_per_token", usage.input_tokens)
    output_usd = price.rate("output_cost_per_token", usage.input_tokens)
    read_usd = price.rate("cache_read_input_token_cost", usage.input_tokens, input_usd)
    creation_usd = price.rate("cache_creation_input_token_cost", usage.input_tokens, input_usd)
    reasoning_usd = price.rate("output_cost_per_reasoning_token", usage.input_tokens, output_usd)
    plain = max(usage.input_tokens - usage.cache_read_tokens - usage.cache_creation_tokens, 0)
    spoken = max(usage.output_tokens - reasoning_tokens, 0)
    total = (
        plain * input_usd
        + usage.cache_read_tokens * read_usd
        + usage.cache_creation_tokens * creation_usd
        + spoken * output_usd
        + reasoning_tokens * reasoning_usd
    )
    return min(total, _MOST_USD).quantize(_EIGHT_PLACES)


def ceiling_of(input_tokens: int, output_tokens: int, price: Price) -> Decimal:
    """USD for so many tokens, rounded up, if all of them were of the dearer kind: written to a cache, reasoning."""
    input_usd = price.rate("input_cost_per_token", input_tokens)
    output_usd = price.rate("output_cost_per_token", input_tokens)
    creation_usd = price.rate("cache_creation_input_token_cost", input_tokens, input_usd)
    reasoning_usd = price.rate("output_cost_per_reasoning_token", input_tokens, output_usd)
    total = input_tokens * max(input_usd, creation_usd) + output_tokens * max(output_usd, reasoning_usd)
    return min(total, _MOST_USD).quantize(_EIGHT_PLACES, rounding=ROUND_UP)


def abilities_of(provider: ProviderSpec, model: str) -> Mapping[str, Any] | None:
    """What the list says that the model can do; None where it does not know the model."""
    return _entry(KINDS[provider.kind], _named(provider, model))


def accepts(provider: ProviderSpec, model: str, what: str) -> bool | None:
    """Whether the model takes ``what``: "schema", "tools", "images" or "documents". None where nobody knows.

    The provider's own row decides. Where that says nothing, the price list does.
    """
    said: bool | None = getattr(provider.find_model(model), f"accepts_{what}", None)
    if said is not None:
        return said
    abilities = abilities_of(provider, model)
    return None if abilities is None else bool(abilities.get(_ABILITIES[what]))


def _named(provider: ProviderSpec, model: str) -> str:
    """What the list calls it: on Azure a model has the name of a deployment."""
    return str(provider.credentials.get("base_model") or model) if provider.kind == "azure" else model


@lru_cache(maxsize=1024)
def _rates(kind: Kind, model: str) -> Mapping[str, Decimal]:
    """Every rate of the list for the model, by the list's own names, in USD for one token."""
    entry = _entry(kind, model) or {}
    return {
        name: Decimal(str(rate))
        for name, rate in entry.items()
        if "cost" in name and isinstance(rate, (int, float))
    }


def _entry(kind: Kind, model: str) -> Mapping[str, Any] | None:
    if not kind.price_lists:
        return None
    listed = litellm_import.load().model_cost
    for vendor in kind.price_lists:
        for key in (f"{vendor}/{model}", model):
            entry: Mapping[str, Any] = listed.get(key) or {}
            if entry.get("litellm_provider") == vendor:
                return entry
    return None


def _overridden(listed: Mapping[str, Decimal], override: ModelSpec | None) -> Mapping[str, Decimal]:
    """The rates with the row's own in their place; a negotiated price moves what belongs to it along."""
    if override is None:
        return listed
    rates = dict(listed)
    for side, per_mtok in (("input", override.input_cost_per_mtok), ("output", override.output_cost_per_mtok)):
        if per_mtok is None:
            continue
        base = f"{side}_cost_per_token"
        scale = (per_mtok / _MTOK) / listed[base] if listed.get(base) else None
        for name in listed:
            if side in name and name != base:
                if scale is None:
                    del rates[name]
                else:
                    rates[name] = listed[name] * scale
        rates[base] = per_mtok / _MTOK
    return rates
