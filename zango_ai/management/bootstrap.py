"""A first provider, prompt and agent: test the connection, then save everything in one transaction."""

from __future__ import annotations

from dataclasses import dataclass

from django.core.exceptions import ValidationError
from django.core.management.base import CommandError
from django.db import transaction
from django.urls import NoReverseMatch, reverse

from .. import tenancy
from ..agent import Agent
from ..conf import site_address
from ..definitions import AgentOptions, define_agent, define_provider
from ..encryption.credentials import Credentials
from ..exceptions import DefinitionInvalid, ZangoAIError
from ..models import AgentConfig, Provider
from ..providers import calls, model_catalog, model_list
from ..providers.kinds import KINDS


@dataclass(frozen=True, slots=True)
class Wanted:
    """What to create. The credentials are encrypted, so that no traceback shows them."""

    provider: Provider
    """Saved already, or not yet."""
    model: str
    agent: str
    system_prompt: str | None
    """None: the one that the agent has."""


def unsaved_provider(name: str, kind: str, credentials: Credentials) -> Provider:
    """A valid provider that is not saved. Raises CommandError."""
    provider = Provider(name=name, kind=kind, credentials=credentials)
    try:
        provider.clean_fields()
        provider.clean()
    except ValidationError as exc:
        raise CommandError(f"Provider {name!r}: {' '.join(exc.messages)}") from None
    return provider


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


def save(wanted: Wanted) -> Agent:
    """Create or change the rows. Raises CommandError, and then nothing is changed."""
    provider = wanted.provider
    options: AgentOptions = {"provider": provider.name}
    if wanted.system_prompt is not None:
        options["system_prompt"] = wanted.system_prompt
    try:
        with transaction.atomic(using=tenancy.connection().alias):
            had_kind = Provider.objects.filter(name=provider.name, kind=provider.kind).exists()
            if provider._state.adding:
                define_provider(provider.name, kind=provider.kind, credentials=provider.credentials)
            row = Provider.objects.get(name=provider.name)
            if not (row.default_model and had_kind):
                row = define_provider(provider.name, default_model=wanted.model)
            options["model"] = "" if wanted.model == row.default_model else wanted.model
            return define_agent(wanted.agent, **options)
    except DefinitionInvalid as exc:
        raise CommandError(str(exc)) from None


def admin_address(agent: str, schema: str) -> str | None:
    """The agent's page in the admin, as far as the settings tell. None if the project has no admin."""
    try:
        path = reverse("admin:zango_ai_agentconfig_change", args=[AgentConfig.objects.get(name=agent).pk])
    except NoReverseMatch:
        return None
    return f"{site_address(schema)}{path}"
