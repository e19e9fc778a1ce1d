"""What a provider's page shows around its form: connection, budget, agents, models and usage."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Any

from django.contrib.admin import ModelAdmin
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext

from .. import tenancy
from ..encryption.cipher import Undecryptable
from ..ledger import usage
from ..models import AgentConfig, Fallback, Invocation, Provider, ProviderModel
from . import components, panel, spending
from .agent_views import model_document
from .formats import latency, percent, short_count, usd


@dataclass(frozen=True, slots=True)
class ModelRow:
    """A model that the provider allows. ``usage`` is that of the last 30 days."""

    model: ProviderModel
    price: str
    abilities: list[str]
    retires: str
    url: str


@dataclass(frozen=True, slots=True)
class User:
    """An agent that uses the provider."""

    name: str
    url: str
    model: str
    is_enabled: bool
    is_fallback: bool


def no_usage(provider: Provider) -> usage.Usage:
    return usage.Usage(id=provider.pk, name=provider.name, last_24h=usage.Figures(), last_30_days=usage.Figures())


def connection_badge(provider: Provider) -> SafeString:
    """Whether the last test worked, and the vendor's words if not."""
    if provider.validation_error:
        badge = components.badge("fails", gettext("fails"))
        return format_html(
            '<div>{}<span class="za-sub za-reason">{}</span></div>', badge, provider.validation_error
        )
    if provider.validated_at is None:
        return components.badge("unknown", gettext("not tested"))
    return components.badge("works", gettext("works"))


def context(page: Any, request: HttpRequest, provider: Provider) -> dict[str, Any]:
    """More for the template of the form."""
    key = f"?provider={provider.pk}" if provider.pk else ""
    shown = {
        "test_url": page.panel_url("provider_test") + key,
        "fetch_url": page.panel_url("provider_models") + key,
        "may_edit": page.has_change_permission(request) if provider.pk else page.has_add_permission(request),
    }
    if not provider.pk:
        return shown
    per_model = usage.per_model(provider.pk)
    return {
        **shown,
        "figures": _figures(per_model),
        "connection": connection_badge(provider),
        "spend": spending.current_spend(provider),
        "next_reset": _next_reset(provider),
        "users": _users(page, request, provider),
        "per_model": per_model if request.user.has_perm("zango_ai.view_invocation") else [],
        "invocations_url": _log_url(page, request, provider),
        **_models(page, request, provider),
    }


def _figures(per_model: list[usage.ModelUsage]) -> list[tuple[str, str]]:
    month = [each.last_30_days for each in per_model]
    successes, errors = sum(each.successes for each in month), sum(each.errors for each in month)
    milliseconds = sum(each.latency_ms for each in month)
    return [
        (gettext("Runs (30 days)"), short_count(sum(each.runs for each in month))),
        (gettext("Success"), percent(successes, successes + errors)),
        (gettext("Average time"), latency(milliseconds / successes if successes else None)),
        (gettext("Cost (30 days)"), usd(sum(each.cost_usd for each in month))),
    ]


def _next_reset(provider: Provider) -> date:
    from ..ledger import months
    from ..models.specs import budget_of

    budget = budget_of(vars(provider))
    start = months.current_month_start(budget, tenancy.current_schema())
    return months.next_month_start(start, budget.reset_day)


def _users(page: Any, request: HttpRequest, provider: Provider) -> list[User]:
    """The agents that use the provider, itself or as a fallback."""
    may_view = panel.has_page(request, page.admin_site, AgentConfig)
    own = [(agent, agent.model, False) for agent in provider.agents.order_by("name")]
    others = Fallback.objects.filter(provider=provider).select_related("agent").order_by("agent__name")
    return [
        User(
            agent.name,
            page.panel_url("agentconfig_change", agent.pk) if may_view else "",
            model or provider.default_model,
            agent.is_enabled,
            is_fallback,
        )
        for agent, model, is_fallback in [*own, *((each.agent, each.model, True) for each in others)]
    ]


def _log_url(page: Any, request: HttpRequest, provider: Provider) -> str:
    if not panel.has_page(request, page.admin_site, Invocation):
        return ""
    return str(page.panel_url("invocation_changelist")) + f"?provider_name={provider.name}"


def _models(page: Any, request: HttpRequest, provider: Provider) -> dict[str, Any]:
    """The table of models and its links; nothing if the user may not view models."""
    if not panel.has_page(request, page.admin_site, ProviderModel):
        return {}
    from ..providers import model_catalog
    from ..providers.kinds import KINDS

    rows = list(provider.models.all())
    spec = provider.spec() if rows and provider.kind in KINDS else None
    shown = []
    for row in rows:
        try:
            facts = model_document(model_catalog.describe(spec, row.model_id)) if spec else {}
        except Undecryptable:
            facts = {}
        url = page.panel_url("providermodel_change", row.pk)
        shown.append(
            ModelRow(row, facts.get("price", ""), facts.get("abilities", []), facts.get("retires", ""), url)
        )
    models: ModelAdmin[ProviderModel] = page.admin_site.get_model_admin(ProviderModel)
    add_url = page.panel_url("providermodel_add") + f"?provider={provider.pk}"
    return {
        "sees_models": True,
        "models": shown,
        "add_model_url": add_url if models.has_add_permission(request) else "",
    }
