"""Rows as runs see them. Apart from the models, which a process without runs loads as well."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ..types import Budget, ModelSpec, ProviderSpec, RateLimits
from .budgeted import BudgetedModel


def budget_of(values: Mapping[str, Any]) -> Budget:
    """The budget in a row's columns."""
    limit, reset_day, percent = (values[name] for name in BudgetedModel.BUDGET_FIELDS)
    return Budget(limit, reset_day, percent)


def rates_of(values: Mapping[str, Any]) -> RateLimits:
    """The limits a minute in a row's columns."""
    return RateLimits(values["rate_limit_rpm"], values["rate_limit_tpm"])


def model_spec(values: Mapping[str, Any]) -> ModelSpec:
    """A provider's model, from the columns in ``ProviderModel.SPEC_FIELDS``."""
    return ModelSpec(
        model_id=values["model_id"],
        is_enabled=values["is_enabled"],
        input_cost_per_mtok=values["input_cost_per_mtok"],
        output_cost_per_mtok=values["output_cost_per_mtok"],
        accepts_schema=values["accepts_schema"],
        accepts_tools=values["accepts_tools"],
        accepts_images=values["accepts_images"],
        accepts_documents=values["accepts_documents"],
        rates=rates_of(values),
    )


def provider_spec(values: Mapping[str, Any], models: Iterable[ModelSpec]) -> ProviderSpec:
    """A provider, from the columns in ``Provider.SPEC_FIELDS``, with its models."""
    return ProviderSpec(
        id=values["id"],
        name=values["name"],
        kind=values["kind"],
        credentials=values["credentials"],
        default_model=values["default_model"],
        is_enabled=values["is_enabled"],
        max_retries=values["max_retries"],
        budget=budget_of(values),
        rates=rates_of(values),
        allow_unpriced=values["allow_unpriced"],
        models=tuple(models),
    )
