"""What the overview shows: figures, budgets, and what needs attention. Each part is one query."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property
from typing import Any

from django.http import HttpRequest
from django.urls import reverse
from django.utils.translation import gettext

from ..configuration.retiring_models import RetiringModel, retiring_models
from ..ledger import usage
from ..ledger.usage import Figures, Usage
from ..models import AgentConfig, Provider, ToolCall
from . import overview_plots, panel, spending
from .retirement import notice_of
from .setup import Setup

_FAILING_SHARE, _FAILING_ERRORS = 0.1, 3
"""A provider fails if so many runs in 24 hours, and more than this share of them, ended with an error."""
_MOST_WAITING = 5
_NO_FIGURES = Figures()


@dataclass(frozen=True, slots=True)
class AgentRow:
    agent: AgentConfig
    url: str
    last_24h: Figures
    last_30_days: Figures


@dataclass(frozen=True, slots=True)
class BudgetRow:
    name: str
    url: str
    kind: str
    """``agent`` or ``provider``."""
    spent: Decimal
    reserved: Decimal
    limit: Decimal

    @property
    def share(self) -> float:
        return float((self.spent + self.reserved) / self.limit) if self.limit else 1.0


@dataclass(frozen=True, slots=True)
class Notice:
    """Something that needs attention."""

    tone: str
    title: str
    text: str
    url: str


class Overview:
    """The parts of the page that the user may see. Parts are read when the template asks for them."""

    def __init__(self, request: HttpRequest) -> None:
        self._request = request
        self._site = panel.site_of(request)
        self.sees_agents = panel.has_page(request, self._site, AgentConfig)
        self.sees_providers = panel.has_page(request, self._site, Provider)
        self.sees_usage = request.user.has_perm("zango_ai.view_invocation")
        self.reads_texts = request.user.has_perm("zango_ai.view_payload")
        self.sees_approvals = request.user.has_perm("zango_ai.view_toolcall")

    def _url(self, name: str, *args: Any) -> str:
        return reverse(f"admin:zango_ai_{name}", args=args, current_app=self._site.name)

    @cached_property
    def total(self) -> Usage:
        return usage.total()

    @cached_property
    def _agents(self) -> list[Any]:
        return list(spending.with_spend(AgentConfig.objects.select_related("provider"), "agent"))

    @cached_property
    def _providers(self) -> list[Any]:
        return list(spending.with_spend(Provider.objects.defer("credentials"), "provider"))

    @cached_property
    def agents(self) -> list[AgentRow]:
        """The agents, the most used first."""
        figures = {each.id: each for each in usage.per_agent()} if self.sees_usage else {}
        rows = [
            AgentRow(
                agent,
                self._url("agentconfig_change", agent.pk),
                figures[agent.pk].last_24h if agent.pk in figures else _NO_FIGURES,
                figures[agent.pk].last_30_days if agent.pk in figures else _NO_FIGURES,
            )
            for agent in self._agents
        ]
        return sorted(rows, key=lambda row: (-row.last_30_days.runs, row.agent.name))

    @cached_property
    def budgets(self) -> list[BudgetRow]:
        """Providers and agents that have a budget, the fullest first."""
        owners: list[tuple[str, str, list[Any]]] = []
        if self.sees_providers:
            owners.append(("provider", "provider_change", self._providers))
        if self.sees_agents:
            owners.append(("agent", "agentconfig_change", self._agents))
        rows = [
            BudgetRow(row.name, self._url(url, row.pk), kind, spend.spent_usd, spend.reserved_usd, spend.limit_usd)
            for kind, url, found in owners
            for row in found
            if (spend := spending.current_spend(row)).limit_usd is not None
        ]
        return sorted(rows, key=lambda row: (-row.share, row.name))

    @cached_property
    def failing_providers(self) -> list[Notice]:
        """Enabled providers whose last test failed, or many of whose runs in 24 hours ended with an error."""
        figures = {each.id: each.last_24h for each in usage.per_provider()} if self.sees_usage else {}
        rows = []
        for provider in self._providers:
            recent = figures.get(provider.pk, _NO_FIGURES)
            text = _failure(provider, recent)
            if provider.is_enabled and text:
                title = gettext("Provider %(name)s fails.") % {"name": provider.name}
                rows.append(Notice("bad", title, text, self._url("provider_change", provider.pk)))
        return rows

    @cached_property
    def waiting(self) -> list[ToolCall]:
        """The tool calls that wait for a decision, the first to expire first."""
        calls = panel.waiting_calls().order_by("expires_at")
        needed = (
            *("tool_name", *(("description",) if self.reads_texts else ())),
            "created_at",
            "expires_at",
            "round__invocation__agent_name",
            "round__invocation__user_ref",
        )
        return list(calls.select_related("round__invocation").only(*needed)[:_MOST_WAITING])

    @property
    def approvals_url(self) -> str:
        """The address of the inbox; empty if this admin site has none."""
        return self._url("toolcall_changelist") if self._site.is_registered(ToolCall) else ""

    @cached_property
    def retiring_models(self) -> list[Notice]:
        """Models in use that their vendor switches off soon, or has switched off."""
        return [self._warn(each) for each in retiring_models()]

    def _warn(self, found: RetiringModel) -> Notice:
        notice = notice_of(found)
        if len(found.agents) == 1:
            url = self._url("agentconfig_change", found.agents[0][0])
        else:
            url = self._url("provider_change", found.provider_id)
        return Notice(notice.tone, notice.title, notice.text, url)

    @cached_property
    def plots(self) -> list[overview_plots.Plot]:
        return overview_plots.read()

    @property
    def is_new(self) -> bool:
        """Whether the tenant has no agent yet, so that there is nothing to show."""
        return self.sees_agents and not self._agents

    @property
    def is_in_setup(self) -> bool:
        """Whether the first set-up is not finished: no agent, or one that nobody has run."""
        has_one = len(self._agents) == 1 and self.sees_agents and self.sees_usage
        return self.is_new or (has_one and not usage.header().runs)

    @cached_property
    def setup(self) -> Setup:
        return Setup(self._site.get_model_admin(AgentConfig), self._request)


def _failure(provider: Provider, recent: Figures) -> str:
    if provider.validation_error:
        return gettext("The last connection test failed: %(error)s") % {"error": provider.validation_error}
    if recent.errors >= _FAILING_ERRORS and recent.errors > _FAILING_SHARE * recent.runs:
        numbers = {"errors": recent.errors, "runs": recent.runs}
        return gettext("%(errors)d of %(runs)d runs in the last 24 hours ended with an error.") % numbers
    return ""
