"""Look up providers and prompts of the current tenant by name."""

from __future__ import annotations

from typing import Any, TypeVar

from django.db.models import Model, QuerySet

from .. import argument_checks, sanitize, tenancy
from ..database import reads
from ..database.sql import table
from ..exceptions import NotFoundError, PromptNotFound, ProviderNotFound
from ..models import Prompt, PromptVersion, Provider
from ..types import PromptSpec

Row = TypeVar("Row", bound=Model)
_MAX_SUGGESTIONS = 500
"""How many names to compare with an unknown one."""


def get_provider(name: str) -> Provider:
    """The provider of that name in the current tenant, enabled or not. Raises ProviderNotFound."""
    argument_checks.require_name(name, "get_provider")
    _require_tenant("provider", name, ProviderNotFound)
    rows = Provider.objects.all()
    row = _named(rows, name)
    if row is None:
        raise ProviderNotFound(name, _missing("provider", "Providers", name, rows))
    return row


def get_prompt(name: str) -> Prompt:
    """The prompt of that name in the current tenant, with its active version. Raises PromptNotFound."""
    argument_checks.require_name(name, "get_prompt")
    _require_tenant("prompt", name, PromptNotFound)
    rows = Prompt.objects.select_related("active_version")
    row = _named(rows, name)
    if row is None:
        raise PromptNotFound(name, _missing("prompt", "Prompts", name, rows))
    if row.active_version_id is None:
        row.active_version = row.find_active_version()
        row._loaded_active_id = row.active_version_id
    return row


def get_version(prompt_name: str, number: int) -> PromptSpec:
    """A version of a prompt of the current tenant, active or not. Raises PromptNotFound."""
    contents = dict(get_prompt(prompt_name).versions.values_list("version_number", "content"))
    if number not in contents:
        numbers = ", ".join(map(str, sorted(contents)[:_MAX_SUGGESTIONS])) or "none"
        raise PromptNotFound(prompt_name, f"Prompt {prompt_name!r} has no version {number}. It has: {numbers}.")
    return PromptSpec(prompt_name, number, contents[number])


def no_active_version(name: str) -> PromptNotFound:
    """The error for a prompt that has no text to send: no version, or none that is active."""
    schema = tenancy.current_schema()
    sql = f"""
SELECT 1 FROM {table(schema, PromptVersion)} v JOIN {table(schema, Prompt)} p ON p.id = v.prompt_id
WHERE p.name = %(name)s LIMIT 1
"""
    problem = "no version. Add one: prompt.add_version('...')"
    if list(reads.rows(sql, {"name": name})):
        problem = "no active version. Activate one in the admin."
    return PromptNotFound(name, f"Prompt {name!r} has {problem}")


def _named(rows: QuerySet[Row], name: str) -> Row | None:
    # PostgreSQL would reject the query; no row can have such a name.
    if sanitize.text(name) != name:
        return None
    with tenancy.needs_tables(tenancy.current_schema()):
        return rows.filter(name=name).first()


def _require_tenant(noun: str, name: str, error: type[NotFoundError]) -> None:
    if tenancy.is_public(tenancy.current_schema()):
        raise error(
            name,
            f"No tenant is active, so there is no {noun} {name!r}: this is the public schema. "
            f"{tenancy.advice_without_tenant()}",
        )


def _missing(noun: str, page: str, name: str, rows: QuerySet[Any]) -> str:
    meant = argument_checks.did_you_mean(name, rows.values_list("name", flat=True)[:_MAX_SUGGESTIONS])
    schema = tenancy.current_schema()
    return f"No {noun} named {name!r} in schema {schema!r}.{meant} Create it in the admin under AI > {page}."
