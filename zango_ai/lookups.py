"""Other rows of the current tenant by name."""

from __future__ import annotations

from typing import TypeVar

from django.db.models import Model, QuerySet

from . import arguments, recordable, tenancy
from .exceptions import PromptNotFound, ProviderNotFound
from .models import Prompt, Provider

Row = TypeVar("Row", bound=Model)


def get_provider(name: str) -> Provider:
    """The provider of that name in the current tenant, enabled or not. Raises ProviderNotFound."""
    arguments.require_name(name, "get_provider")
    if _no_tenant() or (row := _named(Provider.objects.all(), name)) is None:
        raise ProviderNotFound(name, _message("provider", "Providers", name))
    return row


def get_prompt(name: str) -> Prompt:
    """The prompt of that name in the current tenant, with its active version. Raises PromptNotFound."""
    arguments.require_name(name, "get_prompt")
    rows = Prompt.objects.select_related("active_version")
    if _no_tenant() or (row := _named(rows, name)) is None:
        raise PromptNotFound(name, _message("prompt", "Prompts", name))
    return row


def _named(rows: QuerySet[Row], name: str) -> Row | None:
    # PostgreSQL would refuse to look for what it cannot hold: no row has such a name.
    return rows.filter(name=name).first() if recordable.text(name) == name else None


def _no_tenant() -> bool:
    return tenancy.is_public(tenancy.current_schema())


def _message(noun: str, page: str, name: str) -> str:
    if _no_tenant():
        return f"No tenant is active, so there is no {noun} {name!r}: this is the public schema."
    schema = tenancy.current_schema()
    return f"No {noun} named {name!r} in schema {schema!r}. Create it in the admin under AI > {page}."
