"""Build the frozen specs that a run uses from column values.

Separate from the models: processes that run no agents load the models too, and need no specs.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import fields
from typing import Any

from ..types import Budget, ModelSpec, ProviderSpec, RateLimits
from .budgeted import BudgetedModel

_MODEL_COLUMNS = tuple(field.name for field in fields(ModelSpec) if field.name != "rates")
_PROVIDER_COLUMNS = tuple(
    field.name for field in fields(ProviderSpec) if field.name not in {"budget", "rates", "models", "xmin"}
)


def budget_of(values: Mapping[str, Any]) -> Budget:
    """The budget of a provider or an agent."""
    limit, reset_day, percent = (values[name] for name in BudgetedModel.BUDGET_FIELDS)
    return Budget(limit, reset_day, percent)


def rates_of(values: Mapping[str, Any]) -> RateLimits:
    """The rate limits of a provider or a model."""
    return RateLimits(values["rate_limit_rpm"], values["rate_limit_tpm"])


def model_spec(values: Mapping[str, Any]) -> ModelSpec:
    """One of the provider's models, from the columns in ``ProviderModel.SPEC_FIELDS``."""
    return ModelSpec(**{name: values[name] for name in _MODEL_COLUMNS}, rates=rates_of(values))


def provider_spec(values: Mapping[str, Any], models: Iterable[ModelSpec]) -> ProviderSpec:
    """A provider with its models, from the columns in ``Provider.SPEC_FIELDS``."""
    columns = {name: values[name] for name in _PROVIDER_COLUMNS}
    return ProviderSpec(**columns, budget=budget_of(values), rates=rates_of(values), models=tuple(models))
