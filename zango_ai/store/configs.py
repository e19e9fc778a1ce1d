"""Rows to specs: an agent with its provider, prompts and models, read at once from the current schema."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, cast

from django.contrib.postgres.expressions import ArraySubquery
from django.db.models import Exists, OuterRef, QuerySet, TextField
from django.db.models.functions import Cast, JSONObject

from .. import recordable, tenancy
from ..exceptions import AgentNotFound, WrongTenant
from ..models import AgentConfig, Fallback, Provider, ProviderModel, Tool
from ..models.limited import Budgeted, budget_of
from ..models.provider import provider_spec
from ..types import AgentSpec, ModelSpec, OutputSchema, PromptSpec, ProviderSpec, RateLimits, Target
from . import reading

_AGENT_FIELDS = (
    *("id", "name", "is_enabled", "model", "temperature", "max_tokens", "timeout_seconds"),
    *(
        "output_schema",
        "output_json_schema",
        "output_retries",
        "short_term_memory",
        "short_term_memory_max_messages",
    ),
    *("max_tool_rounds", "approves_system_runs"),
    *Budgeted.BUDGET_FIELDS,
)
_PROMPT_FIELDS = ("name", "active_version__version_number", "active_version__content")


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
    agents = AgentConfig.objects.filter(name=name).values(
        *_AGENT_FIELDS,
        *(f"provider__{field}" for field in Provider.SPEC_FIELDS),
        *(f"{role}_prompt__{field}" for role in ("system", "user") for field in _PROMPT_FIELDS),
        model_rows=ArraySubquery(_models_of(OuterRef("provider"))),
        tool_names=ArraySubquery(
            Tool.objects.filter(agents=OuterRef("pk"), is_active=True).order_by("name").values("name")
        ),
        has_fallbacks=Exists(Fallback.objects.filter(agent=OuterRef("pk"))),
    )
    rows = reading.rows(agents)
    return _agent(rows[0]) if rows else None


def _agent(row: dict[str, Any]) -> AgentSpec:
    provider = _provider(row)
    return AgentSpec(
        id=row["id"],
        name=row["name"],
        schema=tenancy.current_schema(),
        is_enabled=row["is_enabled"],
        provider=provider,
        model=row["model"] or provider.default_model,
        system_prompt=_prompt(row, "system_prompt"),
        user_prompt=_prompt(row, "user_prompt"),
        temperature=row["temperature"],
        max_tokens=row["max_tokens"],
        timeout_seconds=row["timeout_seconds"],
        output_schema=cast(OutputSchema, row["output_schema"]),
        output_json_schema=row["output_json_schema"],
        output_retries=row["output_retries"],
        budget=budget_of(row),
        has_memory=row["short_term_memory"],
        memory_pairs=row["short_term_memory_max_messages"],
        tools=tuple(row["tool_names"]),
        max_tool_rounds=row["max_tool_rounds"],
        approves_system_runs=row["approves_system_runs"],
        fallbacks=_fallbacks(row["id"]) if row["has_fallbacks"] else (),
    )


def _fallbacks(agent_id: int) -> tuple[Target, ...]:
    fallbacks = Fallback.objects.filter(agent=agent_id).values(
        "model",
        *(f"provider__{field}" for field in Provider.SPEC_FIELDS),
        model_rows=ArraySubquery(_models_of(OuterRef("provider"))),
    )
    found = ((row["model"], _provider(row)) for row in reading.rows(fallbacks))
    return tuple(Target(provider, model or provider.default_model) for model, provider in found)


def _provider(row: dict[str, Any]) -> ProviderSpec:
    values = {field: row[f"provider__{field}"] for field in Provider.SPEC_FIELDS}
    return provider_spec(values, map(_model, row["model_rows"]))


def _models_of(provider: OuterRef) -> QuerySet[Any, Any]:
    return ProviderModel.objects.filter(provider=provider).values(
        row=JSONObject(
            model_id="model_id",
            is_enabled="is_enabled",
            # As text: a JSON number would come back as a float.
            input=Cast("input_cost_per_mtok", TextField()),
            output=Cast("output_cost_per_mtok", TextField()),
            images="accepts_images",
            documents="accepts_documents",
            rpm="rate_limit_rpm",
            tpm="rate_limit_tpm",
        )
    )


def _model(row: dict[str, Any]) -> ModelSpec:
    input_cost, output_cost = (None if row[k] is None else Decimal(row[k]) for k in ("input", "output"))
    rates = RateLimits(row["rpm"], row["tpm"])
    abilities = row["images"], row["documents"]
    return ModelSpec(row["model_id"], row["is_enabled"], input_cost, output_cost, *abilities, rates)


def _prompt(row: dict[str, Any], role: str) -> PromptSpec | None:
    name, version, content = (row[f"{role}__{field}"] for field in _PROMPT_FIELDS)
    return None if name is None else PromptSpec(name, version, content)


def find_agent_id(name: str) -> int | None:
    """The primary key of the agent of that name in the current schema, enabled or not."""
    found = _find(name, "id")
    return None if found is None else int(found)


def find_enabled(name: str) -> bool | None:
    """Whether the agent of that name is enabled; None where the current schema has none."""
    found = _find(name, "is_enabled")
    return None if found is None else bool(found)


def _find(name: str, field: str) -> Any:
    """One field of one agent: a fraction of what reading all of it takes."""
    if recordable.text(name) != name:
        return None
    rows = reading.rows(AgentConfig.objects.filter(name=name).order_by().values(field))
    return rows[0][field] if rows else None


def find_agent_name(agent_id: int | None) -> str | None:
    """What the agent of that primary key is called now, in the current schema."""
    if agent_id is None:
        return None
    rows = reading.rows(AgentConfig.objects.filter(pk=agent_id).values("name"))
    return str(rows[0]["name"]) if rows else None
