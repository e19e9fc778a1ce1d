"""A provider, a prompt and an agent: test the connection, then save everything in one transaction."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from django.core.exceptions import ValidationError
from django.core.management.base import CommandError
from django.db import transaction
from django.urls import NoReverseMatch, reverse

from .. import tenancy
from ..agent import Agent
from ..conf import site_address
from ..configuration_files.providers import place_of_secrets
from ..definitions import AgentOptions, define_agent, define_provider
from ..encryption.cipher import Undecryptable
from ..encryption.credentials import Credentials
from ..exceptions import DefinitionInvalid, ZangoAIError
from ..models import AgentConfig, Provider
from ..providers import calls, model_catalog, model_list
from ..providers.kinds import KINDS


@dataclass(frozen=True, slots=True)
class Wanted:
    """What to create or to change. The credentials are encrypted, so that no traceback shows them."""

    provider: Provider
    """As it is to be saved."""
    tested_model: str
    agent: str | None = None
    """None: no agent is created or changed."""
    model: str | None = None
    """None: the one that the agent has."""
    system_prompt: str | None = None
    """None: the one that the agent has. Empty: no prompt."""


@dataclass(frozen=True, slots=True)
class Saved:
    agent: Agent | None
    changes: tuple[str, ...]
    """What was changed or is new, such as ``provider main (api_key)``. Names only: values may be secret."""
    is_all_new: bool


def change_provider(provider: Provider, kind: str, given: Credentials) -> list[str]:
    """Set the kind and the given credentials, without saving. The others stay; an empty value removes one.

    Returns the names of secrets that were removed because they would be sent to another address. If the kind
    changes, all credentials are removed that are not given.
    """
    before = provider.credentials if provider.kind == kind else Credentials()
    earlier = place_of_secrets(provider)
    provider.kind = kind
    try:
        provider.credentials = _merged(before, given)
    except Undecryptable:
        provider.credentials = _merged(Credentials(), given)
        return []
    if not before or place_of_secrets(provider) == earlier:
        return []
    secrets = [slot.name for slot in KINDS[kind].slots if slot.is_secret and slot.name not in given]
    removed = [name for name in secrets if name in provider.credentials]
    for name in removed:
        del provider.credentials[name]
    return removed


def _merged(before: Credentials, given: Credentials) -> Credentials:
    # In one expression: a traceback shows local variables.
    return Credentials({name: value for name, value in {**before.reveal(), **given.reveal()}.items() if value})


def require_valid(provider: Provider) -> None:
    """Raise CommandError if the provider cannot be saved."""
    try:
        provider.clean_fields()
        provider.clean()
    except ValidationError as exc:
        raise CommandError(f"Provider {provider.name!r}: {' '.join(exc.messages)}") from None


def suggested_models(provider: Provider) -> list[str]:
    """Models to choose from: those that the vendor lists, else those of the price list. Raises a ZangoAIError."""
    if KINDS[provider.kind].models_path:
        return model_list.list_models(provider.spec())
    return [model.id for model in model_catalog.models_of(provider.spec())]


def require_answer(provider: Provider, model: str) -> None:
    """Send the smallest request. Raises CommandError with the provider's error."""
    try:
        calls.ping(provider.spec(), model)
    except ZangoAIError as exc:
        raise CommandError(f"The connection fails. {exc} Nothing was saved.") from None


def require_allowed(provider_name: str, model: str) -> None:
    """Raise CommandError if a provider of that name exists and does not allow the model."""
    saved = Provider.objects.filter(name=provider_name).first()
    warning = saved.model_warning(model) if saved is not None else ""
    if warning:
        raise CommandError(f"{warning} Nothing was saved.")


def save(wanted: Wanted) -> Saved:
    """Create or change the rows. Raises CommandError, and then nothing is changed."""
    try:
        with transaction.atomic(using=tenancy.connection().alias):
            provider_before, agent_before = _find_provider(wanted.provider.name), find_agent(wanted.agent)
            provider = _save_provider(wanted, provider_before)
            agent = None if wanted.agent is None else define_agent(wanted.agent, **_agent_options(wanted, provider))
    except DefinitionInvalid as exc:
        raise CommandError(str(exc)) from None
    agent_after = find_agent(wanted.agent)
    changes = (*_provider_changes(provider_before, provider), *_agent_changes(agent_before, agent_after))
    return Saved(agent, changes, provider_before is None and agent_before is None)


def _save_provider(wanted: Wanted, before: Provider | None) -> Provider:
    provider = wanted.provider
    row = define_provider(provider.name, kind=provider.kind, credentials=provider.credentials)
    is_new_kind = before is None or before.kind != provider.kind
    if is_new_kind:
        return define_provider(provider.name, default_model=wanted.model or wanted.tested_model)
    if wanted.model and not row.default_model:
        return define_provider(provider.name, default_model=wanted.model)
    return row


def _agent_options(wanted: Wanted, provider: Provider) -> AgentOptions:
    options: AgentOptions = {"provider": provider.name}
    if wanted.model is not None:
        options["model"] = "" if wanted.model == provider.default_model else wanted.model
    if wanted.system_prompt is not None:
        options["system_prompt"] = wanted.system_prompt or None
    return options


def has_kind(provider: Provider) -> bool:
    """Whether the provider is saved already, with the kind that it has now."""
    return Provider.objects.filter(name=provider.name, kind=provider.kind).exists()


def _find_provider(name: str) -> Provider | None:
    return Provider.objects.filter(name=name).first()


def find_agent(name: str | None) -> AgentConfig | None:
    """The agent of that name, with its provider and its system prompt."""
    rows = AgentConfig.objects.select_related("provider", "system_prompt__active_version")
    return None if name is None else rows.filter(name=name).first()


def _provider_changes(before: Provider | None, after: Provider) -> Iterator[str]:
    if before is None:
        yield f"provider {after.name} (new)"
        return
    changed = [name for name in ("kind", "default_model") if getattr(before, name) != getattr(after, name)]
    changed += _changed_credentials(before.credentials, after.credentials)
    if changed:
        yield f"provider {after.name} ({', '.join(changed)})"


def _changed_credentials(before: Credentials, after: Credentials) -> list[str]:
    try:
        names = sorted({*before.reveal(), *after.reveal()})
        return [name for name in names if before.get(name) != after.get(name)]
    except Undecryptable:
        return [] if before == after else ["credentials"]


def _agent_changes(before: AgentConfig | None, after: AgentConfig | None) -> Iterator[str]:
    if after is None:
        return
    if before is None:
        yield f"agent {after.name} (new)"
        return
    changed = [name for name in ("provider", "model") if getattr(before, name) != getattr(after, name)]
    changed += ["system_prompt"] if prompt_of(before) != prompt_of(after) else []
    if changed:
        yield f"agent {after.name} ({', '.join(changed)})"


def prompt_of(agent: AgentConfig) -> str:
    """The text of the agent's system prompt; "" if it has none."""
    return agent.system_prompt.content if agent.system_prompt else ""


def admin_address(agent: str, schema: str) -> str | None:
    """The agent's page in the admin, as far as the settings tell. None if the project has no admin."""
    try:
        path = reverse("admin:zango_ai_agentconfig_change", args=[AgentConfig.objects.get(name=agent).pk])
    except NoReverseMatch:
        return None
    return f"{site_address(schema)}{path}"
