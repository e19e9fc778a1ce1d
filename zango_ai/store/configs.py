"""Rows to specs: an agent with its provider, prompts and models, read at once from the current schema."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, cast

from django.contrib.postgres.expressions import ArraySubquery
from django.db.models import OuterRef, TextField
from django.db.models.functions import Cast, JSONObject

from .. import tenancy
from ..exceptions import AgentNotFound, WrongTenant
from ..models import AgentConfig, Prompt, Provider, ProviderModel
from ..types import AgentSpec, ModelSpec, OutputSchema, PromptSpec, ProviderSpec


def require_tenant(name: str) -> str:
    """The current schema. Raises AgentNotFound on the public one."""
    schema = tenancy.current_schema()
    if tenancy.is_public(schema):
        raise AgentNotFound(
            name,
            f"No tenant is active, so there is no agent {name!r}: this is the public schema. Call it inside a "
            "request of a tenant, or within django_tenants.utils.tenant_context(tenant).",
        )
    return schema


def require_same_tenant(name: str, schema: str) -> None:
    """Raises WrongTenant unless ``schema`` is in force."""
    current = tenancy.current_schema()
    if current != schema:
        raise WrongTenant(
            current,
            f"Agent {name!r} belongs to schema {schema!r} and was used in {current!r}. Call get_agent() in the "
            "tenant in which the agent runs.",
        )


def read_agent(name: str) -> AgentSpec | None:
    """The agent of the current schema as it is now, also when it is disabled."""
    models = ProviderModel.objects.filter(provider=OuterRef("provider")).values(
        row=JSONObject(
            model_id="model_id",
            is_enabled="is_enabled",
            # As text: a JSON number would come back as a float.
            input=Cast("input_cost_per_mtok", TextField()),
            output=Cast("output_cost_per_mtok", TextField()),
        )
    )
    row = (
        AgentConfig.objects.select_related(
            "provider", "system_prompt__active_version", "user_prompt__active_version"
        )
        .annotate(model_rows=ArraySubquery(models))
        .filter(name=name)
        .first()
    )
    return None if row is None else _agent(row, row.model_rows)


def _agent(row: AgentConfig, model_rows: list[dict[str, Any]]) -> AgentSpec:
    return AgentSpec(
        id=row.pk,
        name=row.name,
        schema=tenancy.current_schema(),
        is_enabled=row.is_enabled,
        provider=_provider(row.provider, model_rows),
        model=row.model or row.provider.default_model,
        system_prompt=_prompt(row.system_prompt),
        user_prompt=_prompt(row.user_prompt),
        temperature=row.temperature,
        max_tokens=row.max_tokens,
        timeout_seconds=row.timeout_seconds,
        output_schema=cast(OutputSchema, row.output_schema),
        output_json_schema=row.output_json_schema,
    )


def _provider(row: Provider, model_rows: list[dict[str, Any]]) -> ProviderSpec:
    return ProviderSpec(
        id=row.pk,
        name=row.name,
        kind=row.kind,
        credentials=row.credentials,
        default_model=row.default_model,
        is_enabled=row.is_enabled,
        models=tuple(_model(model) for model in model_rows),
    )


def _model(row: dict[str, Any]) -> ModelSpec:
    input_cost, output_cost = (None if row[k] is None else Decimal(row[k]) for k in ("input", "output"))
    return ModelSpec(row["model_id"], row["is_enabled"], input_cost, output_cost)


def _prompt(row: Prompt | None) -> PromptSpec | None:
    if row is None:
        return None
    version = row.active_version
    if version is None:
        return PromptSpec(row.name, None, None)
    return PromptSpec(row.name, version.version_number, version.content)
