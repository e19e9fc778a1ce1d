"""The rows that scripted agents and providers need, if the active tenant does not have them."""

from __future__ import annotations

from .. import tenancy
from ..definitions import AgentOptions, define_agent, define_provider
from ..models import AgentConfig, Provider

PROVIDER = "scripted"
"""The name of the provider of agents that are created here."""


def ensure_agent(name: str, options: AgentOptions) -> None:
    """Create the agent if there is none. Change it if there are options.

    Without an active tenant nothing is created, and options raise WrongTenant. Raises DefinitionInvalid too.
    """
    if tenancy.is_public(tenancy.current_schema()):
        if options:
            define_agent(name, **options)
        return
    exists = AgentConfig.objects.filter(name=name).exists()
    if not exists:
        ensure_provider(PROVIDER)
        options = {"provider": PROVIDER, **options}
    if options:
        define_agent(name, **options)


def ensure_provider(name: str) -> None:
    """Create the provider if there is none. Without an active tenant nothing is created."""
    if tenancy.is_public(tenancy.current_schema()) or Provider.objects.filter(name=name).exists():
        return
    # A self-hosted server takes every kind of input, and needs no price list: litellm, which has one, loads in
    # seconds.
    define_provider(
        name,
        kind="openai_compatible",
        credentials={"api_key": "sk-scripted", "api_base": "https://scripted.invalid/v1"},
        default_model="scripted-model",
        allow_unpriced=True,
    )
