"""The models that can be chosen for a provider, with their prices and abilities, for forms."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal

from ..types import ProviderSpec
from . import litellm_import, model_info
from .kinds import KINDS, Kind

_MTOK = 1_000_000
_MAX_LISTED = 400


@dataclass(frozen=True, slots=True, kw_only=True)
class CatalogModel:
    """One model of a provider. None: not known."""

    id: str
    input_usd_per_mtok: Decimal | None
    output_usd_per_mtok: Decimal | None
    context_tokens: int | None
    accepts_tools: bool | None
    accepts_schema: bool | None
    accepts_images: bool | None
    accepts_documents: bool | None
    retires_on: str | None
    """The day on which the vendor switches the model off, as in ``2026-12-31``."""


def models_of(provider: ProviderSpec) -> list[CatalogModel]:
    """The models that the provider allows, by name.

    A provider that allows any model has those of litellm's price list, which may be none. The first call imports
    litellm, which takes seconds.
    """
    kind = KINDS.get(provider.kind)
    if kind is None:
        return []
    if provider.models:
        names = {model.model_id for model in provider.models if model.is_enabled}
    else:
        names = set(_priced_names(kind)) | ({provider.default_model} - {""})
    return [describe(provider, name) for name in sorted(names)[:_MAX_LISTED]]


def describe(provider: ProviderSpec, model: str) -> CatalogModel:
    """One model, known or not. The provider's kind must be known."""
    info = model_info.look_up(provider, model)
    rates = info.price.rates if info.price is not None else {}
    listing = info.listing or {}
    return CatalogModel(
        id=model,
        input_usd_per_mtok=_per_mtok(rates.get("input_cost_per_token")),
        output_usd_per_mtok=_per_mtok(rates.get("output_cost_per_token")),
        context_tokens=listing.get("max_input_tokens"),
        accepts_tools=info.accepts("tools"),
        accepts_schema=info.accepts("schema"),
        accepts_images=info.accepts("images"),
        accepts_documents=info.accepts("documents"),
        retires_on=listing.get("deprecation_date"),
    )


def _per_mtok(rate: Decimal | None) -> Decimal | None:
    return None if rate is None else rate * _MTOK


def _priced_names(kind: Kind) -> Iterator[str]:
    """The chat models of the kind in the price list. None for an account that names its models itself."""
    if kind.has_own_model_names:
        return
    for key, listing in litellm_import.load().model_cost.items():
        vendor = listing.get("litellm_provider")
        if vendor not in kind.price_lists or listing.get("mode") != "chat":
            continue
        name = key.removeprefix(f"{vendor}/")
        is_variant = name.startswith("ft:") or ("/" in name and not kind.is_gateway)
        if not is_variant:
            yield name
