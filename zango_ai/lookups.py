"""Other rows of the current tenant by name."""

from __future__ import annotations

from . import tenancy
from .exceptions import PromptNotFound, ProviderNotFound
from .models import Prompt, Provider


def get_provider(name: str) -> Provider:
    """The provider of that name in the current tenant, enabled or not. Raises ProviderNotFound."""
    if _no_tenant() or (row := Provider.objects.filter(name=name).first()) is None:
        raise ProviderNotFound(name, _message("provider", "Providers", name))
    return row


def get_prompt(name: str) -> Prompt:
    """The prompt of that name in the current tenant, with its active version. Raises PromptNotFound."""
    rows = Prompt.objects.select_related("active_version")
    if _no_tenant() or (row := rows.filter(name=name).first()) is None:
        raise PromptNotFound(name, _message("prompt", "Prompts", name))
    return row


def _no_tenant() -> bool:
    return tenancy.is_public(tenancy.current_schema())


def _message(noun: str, page: str, name: str) -> str:
    if _no_tenant():
        return f"No tenant is active, so there is no {noun} {name!r}: this is the public schema."
    schema = tenancy.current_schema()
    return f"No {noun} named {name!r} in schema {schema!r}. Create it in the admin under AI > {page}."
