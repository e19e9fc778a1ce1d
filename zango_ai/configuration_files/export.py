"""A tenant's configuration as a document of plain values, without secrets."""

from __future__ import annotations

from decimal import Decimal
from functools import lru_cache
from typing import Any

from django.db import models

from ..encryption.cipher import Undecryptable
from ..models import AgentConfig, Fallback, Prompt, PromptVersion, Provider, Tool
from ..models.budgeted import BudgetedModel
from ..providers.kinds import KINDS

VERSION = 1
"""The version of the file's format."""
SECTIONS = ("providers", "prompts", "tools", "agents")
AGENT_REFERENCES = ("provider", "system_prompt", "user_prompt")
"""An agent's foreign keys. The file has names in their place."""
VERSION_FIELDS = ("content", "change_description")
_KEYS = {"name", "model_id"}
"""Fields that are keys of the document's mappings."""


@lru_cache(maxsize=8)
def columns(model: type[models.Model]) -> tuple[Any, ...]:
    """The fields that the file has for rows of this model: all that people can edit."""
    if model is Tool:  # code declares the rest
        return (Tool._meta.get_field("is_enabled"),)
    fields = [
        field
        for field in model._meta.concrete_fields
        if field.editable and not field.is_relation and not field.primary_key and field.name not in _KEYS
    ]
    return tuple(sorted(fields, key=lambda field: field.name in BudgetedModel.BUDGET_FIELDS))  # the budget last


def document() -> dict[str, Any]:
    """The configuration of the current schema, in a fixed order."""
    providers = Provider.objects.order_by("name").prefetch_related("models")
    prompts = Prompt.objects.order_by("name").select_related("active_version").prefetch_related("versions")
    fallbacks = models.Prefetch("fallbacks", Fallback.objects.select_related("provider"))
    agents = AgentConfig.objects.order_by("name").select_related(*AGENT_REFERENCES)
    return {
        "version": VERSION,
        "providers": {row.name: _provider(row) for row in providers},
        "prompts": {row.name: _prompt(row) for row in prompts},
        "tools": {row.name: _columns_of(row) for row in Tool.objects.filter(is_active=True).order_by("name")},
        "agents": {row.name: _agent(row) for row in agents.prefetch_related("tools", fallbacks)},
    }


def _columns_of(row: models.Model) -> dict[str, Any]:
    values = {field.name: getattr(row, field.name) for field in columns(type(row))}
    return {name: value.normalize() if isinstance(value, Decimal) else value for name, value in values.items()}


def _provider(row: Provider) -> dict[str, Any]:
    listed = {model.model_id: _columns_of(model) for model in row.models.all()}
    return {**_columns_of(row), "connection": connection_of(row), "models": listed}


def connection_of(row: Provider) -> dict[str, str]:
    """The provider's settings that are not secret, such as its address. Empty if they cannot be decrypted."""
    kind = KINDS.get(row.kind)
    if kind is None:
        return {}
    names = [slot.name for slot in kind.slots if not slot.is_secret]
    try:
        secrets = kind.secrets(row.credentials)
        values = {name: str(row.credentials.get(name) or "").strip() for name in names}
    except Undecryptable:
        return {}
    return {name: value for name, value in values.items() if value and not _has_secret(value, secrets)}


def _has_secret(value: str, secrets: list[str]) -> bool:
    """Whether a setting contains a secret. A URL must not contain a user name or a query, but may in old rows."""
    return any(secret in value for secret in secrets) or ("://" in value and ("@" in value or "?" in value))


def _prompt(row: Prompt) -> dict[str, Any]:
    active = row.find_active_version()
    versions = sorted(row.versions.all(), key=lambda version: version.version_number)
    return {
        **_columns_of(row),
        "active_version": active.version_number if active else None,
        "versions": {version.version_number: _version(version, version == active) for version in versions},
    }


def _version(row: PromptVersion, is_active: bool) -> dict[str, Any]:
    values = {name: getattr(row, name) for name in VERSION_FIELDS}
    return values if is_active else {**values, "status": row.status}


def _agent(row: AgentConfig) -> dict[str, Any]:
    references = {name: str(target) if (target := getattr(row, name)) else None for name in AGENT_REFERENCES}
    fallbacks = sorted(row.fallbacks.all(), key=lambda fallback: (fallback.position, fallback.pk))
    return {
        **references,
        **_columns_of(row),
        "tools": sorted(tool.name for tool in row.tools.all()),
        "fallbacks": [{"provider": each.provider.name, "model": each.model} for each in fallbacks],
    }
