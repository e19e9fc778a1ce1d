"""Providers: their configuration, and whether they answer."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

from ..exceptions import LLMAPIError, PriceUnknown, ProviderConfigInvalid, ZangoAIError
from ..models import Provider
from ..providers import calls, checks, model_list
from ..providers.kinds import KINDS
from ..types import ProviderSpec, Target
from .findings import Finding, Scope, error, warning

TIMEOUT_S = 10.0
"""How long to wait for one provider."""
_AT_ONCE = 8
_NO_LIST = (404, 405, 501)
"""How a server answers that has no list of models."""


def find_in_providers(scope: Scope) -> Iterator[Finding]:
    providers = list(Provider.objects.order_by("name"))
    for provider in providers:
        where = f"provider {provider.name}"
        try:
            checks.check_provider(provider.spec())
        except ProviderConfigInvalid as exc:
            if provider.is_enabled and exc.field != "credentials":  # the check of credentials reports those
                yield error(
                    "providers.invalid", where, str(exc), "Correct it in the admin, or with define_provider()."
                )
        else:
            yield from _unknown_price(provider)
        names = ", ".join(provider.unlisted_models())
        if names and provider.is_enabled:
            yield warning(
                "providers.unlisted_models",
                where,
                f"The vendor no longer listed these allowed models when they were last fetched: {names}.",
                "Fetch the models again in the admin, and replace those that are gone.",
            )


def _unknown_price(provider: Provider) -> Iterator[Finding]:
    """Refused calls to the default model. If enabled agents use it, their own check reports it."""
    spec, model = provider.spec(), provider.default_model
    is_used = provider.agents.filter(is_enabled=True, model__in=("", model)).exists()
    if not (provider.is_enabled and model and spec.budget.limit_usd) or is_used:
        return
    try:
        checks.require_fit(Target(spec, model), (), needs_tools=False, needs_price=True)
    except PriceUnknown as exc:
        remedy = "Enter the model's prices in the admin, or allow models without a price."
        yield warning("providers.no_price", f"provider {provider.name}", str(exc), remedy)
    except ZangoAIError:
        return  # runs with it report it


def find_in_connections(scope: Scope) -> Iterator[Finding]:
    """Ask each enabled provider for its list of models, which costs nothing."""
    specs = [(row.spec(), row.default_model) for row in Provider.objects.filter(is_enabled=True).order_by("name")]
    usable = [(spec, model) for spec, model in specs if _is_valid(spec)]
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        for (spec, _model), problem in zip(usable, pool.map(_problem, usable), strict=True):
            if problem is not None:
                yield error(
                    "providers.no_answer",
                    f"provider {spec.name}",
                    problem,
                    "Test the connection on the provider's page in the admin.",
                )


def _is_valid(provider: ProviderSpec) -> bool:
    try:
        checks.check_provider(provider)
    except ProviderConfigInvalid:
        return False
    return True


def _problem(provider_and_model: tuple[ProviderSpec, str]) -> str | None:
    """Why the provider does not answer; None if it does. Without a list of models, its default model is asked."""
    provider, model = provider_and_model
    try:
        if KINDS[provider.kind].models_path and _has_list(provider):
            return None
        if model:
            calls.ping(provider, model, TIMEOUT_S)
    except ZangoAIError as exc:
        return str(exc)
    return None


def _has_list(provider: ProviderSpec) -> bool:
    try:
        model_list.list_models(provider, TIMEOUT_S)
    except LLMAPIError as exc:
        if exc.status_code not in _NO_LIST:
            raise
        return False
    return True
