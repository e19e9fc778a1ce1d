"""Agents that cannot run, or not as they are configured."""

from __future__ import annotations

from collections.abc import Iterator

from ..configuration import agents
from ..configuration.retiring_models import retiring_models
from ..exceptions import ProviderConfigInvalid, ZangoAIError
from ..models import AgentConfig, Tool
from ..runs import preflight
from ..tools import registry
from ..types import AgentSpec, Target
from .findings import Finding, Scope, error, warning

_IN_ADMIN = "Correct the agent or its provider in the admin."


def find_in_agents(scope: Scope) -> Iterator[Finding]:
    for name in AgentConfig.objects.filter(is_enabled=True).order_by("name").values_list("name", flat=True):
        spec = agents.read_agent(name)
        if spec is not None:
            yield from _obstacles(spec)
            yield from _useless_fallbacks(spec)
            yield from _missing_tools(spec)


def _obstacles(agent: AgentSpec) -> Iterator[Finding]:
    """What would make each run fail before anything is sent."""
    try:
        preflight.require_enabled(agent)
        preflight.require_schema(agent)
        preflight.require_able(agent, Target(agent.provider, agent.model))
    except ProviderConfigInvalid:
        return  # the provider's own check reports it
    except ZangoAIError as exc:
        yield error("agents.cannot_run", f"agent {agent.name}", str(exc), _IN_ADMIN)


def _useless_fallbacks(agent: AgentSpec) -> Iterator[Finding]:
    for fallback in agent.fallbacks:
        try:
            preflight.require_able(agent, fallback)
        except ZangoAIError as exc:
            problem = f"Its fallback to provider {fallback.provider.name!r} is skipped: {exc}"
            yield warning("agents.fallback_unusable", f"agent {agent.name}", problem, _IN_ADMIN)


def _missing_tools(agent: AgentSpec) -> Iterator[Finding]:
    """Tools on the agent's list that it is not offered."""
    chosen = Tool.objects.filter(agents=agent.id).order_by("name")
    names = [tool.name for tool in chosen if not (tool.is_enabled and registry.is_registered(tool.name))]
    if names:
        yield warning(
            "agents.tool_unavailable",
            f"agent {agent.name}",
            f"It is not offered these tools of its list, because they are disabled or no code declares them: "
            f"{', '.join(names)}.",
            "Enable the tools, declare them again, or remove them from the agent.",
        )


def find_in_models(scope: Scope) -> Iterator[Finding]:
    for model in retiring_models():
        where, used_by = f"provider {model.provider_name}", ", ".join(model.used_by)
        remedy = "Choose another model in the admin, or with zango_ai_import."
        if model.is_retired:
            problem = f"The vendor ended support for {model.model!r} on {model.retires_on}. Used by: {used_by}."
            yield error("models.retired", where, problem, remedy)
        else:
            problem = f"The vendor ends support for {model.model!r} on {model.retires_on}. Used by: {used_by}."
            yield warning("models.retiring", where, problem, remedy)
