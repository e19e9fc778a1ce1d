"""Read an agent with its provider, prompts and models, or a provider alone, from the current schema in one query.

The SQL is written by hand, because Django takes longer to build such a query than PostgreSQL takes to answer it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from functools import lru_cache
from typing import Any

from .. import sanitize, tenancy
from ..database import reads
from ..database.sql import table
from ..encryption.credentials import Credentials
from ..exceptions import AgentNotFound, WrongTenant
from ..models import AgentConfig, Fallback, Prompt, PromptVersion, Provider, ProviderModel, Tool
from ..models.budgeted import BudgetedModel
from ..models.specs import budget_of, model_spec, provider_spec
from ..types import AgentSpec, ModelSpec, PromptSpec, ProviderSpec, Target

_XMIN = "xmin::text"
"""PostgreSQL's version of a row. It changes with every update."""
_AGENT_FIELDS = (
    *("id", "name", "is_enabled", "model", "temperature", "max_tokens", "timeout_seconds"),
    *("output_schema", "output_json_schema", "output_retries", "max_tool_rounds", "auto_approve_system_runs"),
    *("short_term_memory", "short_term_memory_max_messages", *BudgetedModel.BUDGET_FIELDS, _XMIN),
)
_PROVIDER_FIELDS = (*Provider.SPEC_FIELDS, _XMIN)
_PROMPT_FIELDS = ("name", "version", "content")


def require_tenant(name: str) -> str:
    """The current schema. Raises AgentNotFound on the public one."""
    schema = tenancy.current_schema()
    if tenancy.is_public(schema):
        raise AgentNotFound(
            name,
            f"No tenant is active, so there is no agent {name!r}: this is the public schema. "
            f"{tenancy.advice_without_tenant()}",
        )
    return schema


def require_same_tenant(name: str, schema: str) -> None:
    """Raise WrongTenant unless ``schema`` is active."""
    current = tenancy.current_schema()
    if current != schema:
        raise WrongTenant(
            current,
            f"Agent {name!r} belongs to schema {schema!r} and was used in {current!r}. Call get_agent() in the "
            "tenant in which the agent runs.",
        )


def read_agent(name: str) -> AgentSpec | None:
    """The agent's current configuration, whether or not it is enabled. None if there is no such agent."""
    name = str(name)
    if sanitize.text(name) != name:
        return None  # PostgreSQL would reject the query; no row can have such a name
    schema = tenancy.current_schema()
    for row in reads.rows(_agent_query(schema), {"name": name}):
        return _agent(schema, row)
    return None


@lru_cache(maxsize=512)
def _agent_query(schema: str) -> str:
    prompts = (
        ", ".join((f"{role}.name", f"{role}_version.version_number", f"{role}_version.content"))
        for role in ("system_prompt", "user_prompt")
    )
    return f"""
SELECT {_columns("a", _AGENT_FIELDS)}, {_columns("p", _PROVIDER_FIELDS)}, {", ".join(prompts)},
    {_models(schema)},
    ARRAY(
        SELECT t.name FROM {table(schema, Tool)} t JOIN {table(schema, AgentConfig.tools.through)} listed
            ON listed.tool_id = t.id
        WHERE listed.agentconfig_id = a.id AND t.is_active AND t.is_enabled ORDER BY t.name
    ),
    EXISTS (SELECT 1 FROM {table(schema, Fallback)} f WHERE f.agent_id = a.id)
FROM {table(schema, AgentConfig)} a
JOIN {table(schema, Provider)} p ON p.id = a.provider_id
{_prompt_join(schema, "system_prompt")}
{_prompt_join(schema, "user_prompt")}
WHERE a.name = %(name)s
"""


def _prompt_join(schema: str, prompt: str) -> str:
    """Join an agent's prompt and its active version, chosen as ``Prompt.find_active_version()`` does."""
    versions = table(schema, PromptVersion)
    return f"""
LEFT JOIN {table(schema, Prompt)} {prompt} ON {prompt}.id = a.{prompt}_id
LEFT JOIN {versions} {prompt}_version ON {prompt}_version.id = coalesce({prompt}.active_version_id, (
    SELECT v.id FROM {versions} v WHERE v.prompt_id = {prompt}.id AND v.status = 'active'
))"""


def _columns(alias: str, fields: Sequence[str]) -> str:
    return ", ".join(f"{alias}.{name}" for name in fields)


def _models(schema: str) -> str:
    """The provider's models as JSON. Costs are text, because a JSON number would be read as a float."""
    columns = (f"m.{name}::text" if "cost" in name else f"m.{name}" for name in ProviderModel.SPEC_FIELDS)
    return f"""(
        SELECT json_agg(json_build_array({", ".join(columns)}))::text
        FROM {table(schema, ProviderModel)} m WHERE m.provider_id = p.id
    )"""


def _agent(schema: str, row: tuple[Any, ...]) -> AgentSpec:
    columns = iter(row)
    agent = _take(columns, _AGENT_FIELDS)
    provider_columns = _take(columns, _PROVIDER_FIELDS)
    system_prompt, user_prompt = _prompt(columns), _prompt(columns)
    models, tools, has_fallbacks = columns
    provider = _provider(provider_columns, models)
    json_schema = agent["output_json_schema"]
    return AgentSpec(
        id=agent["id"],
        name=agent["name"],
        schema=schema,
        is_enabled=agent["is_enabled"],
        provider=provider,
        model=agent["model"] or provider.default_model,
        system_prompt=system_prompt,
        user_prompt=user_prompt,
        temperature=agent["temperature"],
        max_tokens=agent["max_tokens"],
        timeout_seconds=agent["timeout_seconds"],
        output_schema=agent["output_schema"],
        output_json_schema=None if json_schema is None else json.loads(json_schema),
        output_retries=agent["output_retries"],
        budget=budget_of(agent),
        has_memory=agent["short_term_memory"],
        memory_pairs=agent["short_term_memory_max_messages"],
        tools=tuple(tools),
        max_tool_rounds=agent["max_tool_rounds"],
        auto_approve_system_runs=agent["auto_approve_system_runs"],
        fallbacks=_fallbacks(schema, agent["id"]) if has_fallbacks else (),
        xmin=agent[_XMIN],
    )


def _fallbacks(schema: str, agent_id: int) -> tuple[Target, ...]:
    sql = f"""
SELECT f.model, {_columns("p", _PROVIDER_FIELDS)}, {_models(schema)}
FROM {table(schema, Fallback)} f JOIN {table(schema, Provider)} p ON p.id = f.provider_id
WHERE f.agent_id = %(agent)s ORDER BY f.position, f.id
"""
    return tuple(_fallback(row) for row in reads.rows(sql, {"agent": agent_id}))


def _fallback(row: tuple[Any, ...]) -> Target:
    model, *provider_columns = row
    provider = _provider_and_models(provider_columns)
    return Target(provider, model or provider.default_model)


def read_provider(provider_id: int | None) -> ProviderSpec | None:
    """The provider's current configuration, whether or not it is enabled. None if there is no such provider."""
    for row in reads.rows(_provider_query(tenancy.current_schema()), {"id": provider_id}):
        return _provider_and_models(row)
    return None


@lru_cache(maxsize=512)
def _provider_query(schema: str) -> str:
    return f"""
SELECT {_columns("p", _PROVIDER_FIELDS)}, {_models(schema)} FROM {table(schema, Provider)} p WHERE p.id = %(id)s
"""


def _provider_and_models(row: Sequence[Any]) -> ProviderSpec:
    *columns, models = row
    return _provider(_take(iter(columns), _PROVIDER_FIELDS), models)


def _take(columns: Iterator[Any], fields: Sequence[str]) -> dict[str, Any]:
    """The next columns, by name."""
    return {name: next(columns) for name in fields}


def _prompt(columns: Iterator[Any]) -> PromptSpec | None:
    prompt = _take(columns, _PROMPT_FIELDS)
    return None if prompt["name"] is None else PromptSpec(**prompt)


def _provider(columns: Mapping[str, Any], models: str | None) -> ProviderSpec:
    values = {**columns, "credentials": Credentials(token=columns["credentials"])}
    spec = provider_spec(values, map(_model, json.loads(models) if models else ()))
    return replace(spec, xmin=columns[_XMIN])


def _model(values: list[Any]) -> ModelSpec:
    columns = dict(zip(ProviderModel.SPEC_FIELDS, values, strict=True))
    for name in ("input_cost_per_mtok", "output_cost_per_mtok"):
        columns[name] = None if columns[name] is None else Decimal(columns[name])
    return model_spec(columns)


def find_agent_id(name: str) -> int | None:
    """The primary key of the agent of that name in the current schema, enabled or not."""
    agent_id = _find("id", "name", name)
    return None if agent_id is None else int(agent_id)


def find_approver_rule(name: str) -> tuple[int, bool] | None:
    """The agent's primary key, and whether another person than the one who asked has to approve its tool calls."""
    row = _find_row("id, approval_by_another_person", "name", name)
    return None if row is None else (int(row[0]), bool(row[1]))


def find_enabled(name: str) -> bool | None:
    """Whether the agent of that name is enabled; None if the current schema has no such agent."""
    is_enabled = _find("is_enabled", "name", name)
    return None if is_enabled is None else bool(is_enabled)


def enabled_names() -> list[str]:
    """Up to 500 names of enabled agents in the current schema, to suggest one of them."""
    sql = f"""
SELECT name FROM {table(tenancy.current_schema(), AgentConfig)} WHERE is_enabled ORDER BY name LIMIT 500
"""
    return [str(name) for (name,) in reads.rows(sql, {})]


def find_agent_name(agent_id: int | None) -> str | None:
    """The current name of the agent with that primary key."""
    name = None if agent_id is None else _find("name", "id", agent_id)
    return None if name is None else str(name)


def _find(field: str, key: str, value: object) -> Any:
    """One field of one agent."""
    row = _find_row(field, key, value)
    return None if row is None else row[0]


def _find_row(fields: str, key: str, value: object) -> Sequence[Any] | None:
    """Some fields of one agent, which is much faster than reading all of it."""
    value = value if isinstance(value, int) else str(value)
    if isinstance(value, str) and sanitize.text(value) != value:
        return None
    sql = f"SELECT {fields} FROM {table(tenancy.current_schema(), AgentConfig)} WHERE {key} = %(value)s"
    return next(iter(reads.rows(sql, {"value": value})), None)
