"""Models in use that their vendor switches off soon, or has switched off."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta

from django.utils import timezone

from ..models import AgentConfig, Fallback, Provider
from ..providers import retirement

WARN_DAYS = 90
"""How long before a model's last day it is reported."""


@dataclass(frozen=True, slots=True)
class RetiringModel:
    """A model of one provider, and who uses it."""

    provider_id: int
    provider_name: str
    model: str
    retires_on: date
    is_retired: bool
    """Whether the day has come."""
    agents: tuple[tuple[int, str], ...]
    """ID and name of each enabled agent that uses the model, itself or as a fallback."""
    is_default: bool
    """Whether it is the provider's default model."""

    @property
    def used_by(self) -> list[str]:
        """The agents, or else the provider, by name."""
        return [f"agent {name}" for _id, name in self.agents] or ["the provider's default model"]


@dataclass(frozen=True, slots=True)
class _Use:
    """One place that names a model. ``agent`` is None for the provider's default."""

    provider: Provider
    model: str
    agent: AgentConfig | None = None


def retiring_models(*, within_days: int = WARN_DAYS, today: date | None = None) -> list[RetiringModel]:
    """The models of the current schema that are switched off by then, the earliest first. Three queries.

    Only enabled agents, their fallbacks and the default models of enabled providers count.
    """
    today = today or timezone.localdate()
    uses: dict[tuple[int, str], list[_Use]] = {}
    for use in _uses():
        uses.setdefault((use.provider.pk, use.model), []).append(use)
    found = []
    for (_provider_id, model), places in uses.items():
        provider = places[0].provider
        day = retirement.retires_on(provider.kind, model, provider.credentials)
        if day is not None and day <= today + timedelta(days=within_days):
            found.append(_retiring(provider, model, day, places, today))
    return sorted(found, key=lambda each: (each.retires_on, each.model, each.provider_name))


def _uses() -> Iterator[_Use]:
    providers = {row.pk: row for row in Provider.objects.filter(is_enabled=True).order_by("name")}
    for provider in providers.values():
        if provider.default_model:
            yield _Use(provider, provider.default_model)
    agents = {row.pk: row for row in AgentConfig.objects.filter(is_enabled=True).order_by("name")}
    fallbacks = Fallback.objects.filter(agent__is_enabled=True)
    named = [(agent.pk, agent.provider_id, agent.model) for agent in agents.values()]
    named += fallbacks.values_list("agent_id", "provider_id", "model")
    for agent_id, provider_id, model in named:
        if provider_id in providers and agent_id in agents:
            provider = providers[provider_id]
            if model or provider.default_model:
                yield _Use(provider, model or provider.default_model, agents[agent_id])


def _retiring(provider: Provider, model: str, day: date, places: list[_Use], today: date) -> RetiringModel:
    agents = {use.agent.pk: use.agent.name for use in places if use.agent is not None}
    return RetiringModel(
        provider_id=provider.pk,
        provider_name=provider.name,
        model=model,
        retires_on=day,
        is_retired=day <= today,
        agents=tuple(sorted(agents.items(), key=lambda pair: pair[1])),
        is_default=any(use.agent is None for use in places),
    )
