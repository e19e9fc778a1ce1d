"""Configuration in code: ``define_agent()``, ``define_provider()`` and ``define_prompt()``.

They work in the active tenant, and may be called again and again: a call creates what is missing, changes what is
different, and leaves alone what its arguments do not name.
"""

from __future__ import annotations

from typing import Literal, Unpack

from .. import argument_checks, tenancy
from ..agent import Agent
from ..models import Prompt, Provider
from . import agents, prompts, providers
from .applying import apply
from .options import AgentOptions, FallbackOptions, ModelOptions, ProviderOptions

__all__ = [
    "AgentOptions",
    "FallbackOptions",
    "ModelOptions",
    "ProviderOptions",
    "define_agent",
    "define_prompt",
    "define_provider",
]


def define_agent(name: str, **options: Unpack[AgentOptions]) -> Agent:
    """Create or change an agent of the active tenant, and return it as ``get_agent()`` does.

    The options are the fields of the agent's form in the admin; ``AgentOptions`` describes them. A new agent needs
    a ``provider``. An option that is left out stays as it is, or gets the field's default. A prompt given as text
    is saved as ``<name>-system`` or ``<name>-user``, with a new version if the text has changed.

    All changes are made in one transaction. Raises DefinitionInvalid, which names the options at fault; WrongTenant
    if no tenant is active; NotMigrated; TypeError for an unknown option.
    """
    argument_checks.require_known(options, AgentOptions.__annotations__, "define_agent")
    schema = apply("agent", name, agents.definition(name, options))
    return Agent(name, schema)


def define_provider(name: str, **options: Unpack[ProviderOptions]) -> Provider:
    """Create or change a provider of the active tenant, and return it.

    The options are the fields of the provider's form in the admin; ``ProviderOptions`` describes them. A new
    provider needs a ``kind``. Without ``credentials``, those that are saved stay. If the kind changes, they are
    removed, so that they are not sent to another vendor.

    Raises what ``define_agent()`` raises.
    """
    argument_checks.require_known(options, ProviderOptions.__annotations__, "define_provider")
    credentials = providers.take_credentials(options)
    apply("provider", name, providers.definition(name, options, credentials))
    return Provider.objects.get(name=name)


def define_prompt(
    name: str,
    content: str,
    *,
    type: Literal["system", "user"] = "user",
    description: str | None = None,
    change_description: str = prompts.CHANGE_DESCRIPTION,
) -> Prompt:
    """Create or change a prompt of the active tenant, and return it. Several agents can use it.

    If ``content`` is not the text of the active version, the version with that text is activated. If there is none,
    it is added, with ``change_description``. Raises what ``define_agent()`` raises.
    """
    apply("prompt", name, prompts.definition(name, content, type, description, change_description))
    with tenancy.needs_tables(tenancy.current_schema()):
        return Prompt.objects.select_related("active_version").get(name=name)
