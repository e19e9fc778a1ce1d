"""What is known about a provider's model: its price, and what it accepts.

The provider's own ``ProviderModel`` row decides; where it says nothing, litellm's bundled price list does.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache
from typing import Any, Literal

from ..types import ModelSpec, Price, ProviderSpec
from . import litellm_import
from .kinds import KINDS, Kind

Feature = Literal["schema", "tools", "images", "documents"]

_LISTED_FEATURES: dict[Feature, str] = {
    "schema": "supports_response_schema",
    "tools": "supports_function_calling",
    "images": "supports_vision",
    "documents": "supports_pdf_input",
}
_MTOK = Decimal(1_000_000)


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """One model of one provider."""

    kind: Kind
    row: ModelSpec | None
    """The model's entry in the provider's list of models."""
    listing: Mapping[str, Any] | None
    """The model's entry in the price list."""
    price: Price | None
    """None if the input or the output cost is not known."""

    @property
    def mode(self) -> str:
        """The API of the vendor that the model belongs to, in the price list's words: "chat", "responses"."""
        return str((self.listing or {}).get("mode", "chat"))

    def accepts(self, feature: Feature) -> bool | None:
        """None if it is not known."""
        accepts: bool | None = getattr(self.row, f"accepts_{feature}", None)
        if accepts is None and self.listing is not None:
            return bool(self.listing.get(_LISTED_FEATURES[feature]))
        return accepts


def look_up(provider: ProviderSpec, model: str) -> ModelInfo:
    """What is known of the model. The provider's kind must be known."""
    kind, row = KINDS[provider.kind], provider.find_model(model)
    name = kind.price_list_model(model, provider.credentials)
    return ModelInfo(kind, row, _listing(kind, name), _price(_rates(kind, name), row))


def _listing(kind: Kind, model: str) -> Mapping[str, Any] | None:
    if not kind.price_lists:
        return None
    listings = litellm_import.load().model_cost
    for vendor, name in kind.price_list_entries(model):
        listing: Mapping[str, Any] = listings.get(name) or {}
        if listing.get("litellm_provider") == vendor:
            return listing
    return None


@lru_cache(maxsize=1024)
def _rates(kind: Kind, model: str) -> Mapping[str, Decimal]:
    """All rates of the model in the price list, by the list's names, in USD for one token."""
    return {
        name: Decimal(str(rate))
        for name, rate in (_listing(kind, model) or {}).items()
        if "cost" in name and isinstance(rate, (int, float))
    }


def _price(listed: Mapping[str, Decimal], row: ModelSpec | None) -> Price | None:
    rates = _overridden(listed, row)
    if rates.get("input_cost_per_token") is None or rates.get("output_cost_per_token") is None:
        return None
    return Price(rates)


def _overridden(listed: Mapping[str, Decimal], row: ModelSpec | None) -> Mapping[str, Decimal]:
    """The rates with those of the row instead. Cache and tier rates of the same side scale with them."""
    if row is None:
        return listed
    rates = dict(listed)
    for side, per_mtok in (("input", row.input_cost_per_mtok), ("output", row.output_cost_per_mtok)):
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
