"""Rows to specs: an agent with its provider, prompts and models, read at once from the current schema."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, cast

from django.contrib.postgres.expressions import ArraySubquery
from django.db.models import Exists, OuterRef, QuerySet, TextField
from django.db.models.functions import Cast, JSONObject

from .. import recordable, tenancy
from ..exceptions import AgentNotFound, WrongTenant
from ..models import AgentConfig, Fallback, Prompt, ProviderModel
from ..types import AgentSpec, ModelSpec, OutputSchema, PromptSpec, Target


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
    if recordable.text(name) != name:
        return None  # PostgreSQL would refuse the question: no row has such a name
    row = (
        AgentConfig.objects.select_related(
            "provider", "system_prompt__active_version", "user_prompt__active_version"
        )
        .annotate(
            model_rows=ArraySubquery(_models_of(OuterRef("provider"))),
            has_fallbacks=Exists(Fallback.objects.filter(agent=OuterRef("pk"))),
        )
        .filter(name=name)
        .first()
    )
    if row is None:
        return None
    return AgentSpec(
        id=row.pk,
        name=row.name,
        schema=tenancy.current_schema(),
        is_enabled=row.is_enabled,
        provider=row.provider.spec(map(_model, row.model_rows)),
        model=row.model or row.provider.default_model,
        system_prompt=_prompt(row.system_prompt),
        user_prompt=_prompt(row.user_prompt),
        temperature=row.temperature,
        max_tokens=row.max_tokens,
        timeout_seconds=row.timeout_seconds,
        output_schema=cast(OutputSchema, row.output_schema),
        output_json_schema=row.output_json_schema,
        fallbacks=_fallbacks(row.pk) if row.has_fallbacks else (),
    )


def _fallbacks(agent_id: int) -> tuple[Target, ...]:
    rows = (
        Fallback.objects.filter(agent=agent_id)
        .select_related("provider")
        .annotate(model_rows=ArraySubquery(_models_of(OuterRef("provider"))))
    )
    return tuple(
        Target(row.provider.spec(map(_model, row.model_rows)), row.model or row.provider.default_model)
        for row in rows
    )


def _models_of(provider: OuterRef) -> QuerySet[Any, Any]:
    return ProviderModel.objects.filter(provider=provider).values(
        row=JSONObject(
            model_id="model_id",
            is_enabled="is_enabled",
            # As text: a JSON number would come back as a float.
            input=Cast("input_cost_per_mtok", TextField()),
            output=Cast("output_cost_per_mtok", TextField()),
        )
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
