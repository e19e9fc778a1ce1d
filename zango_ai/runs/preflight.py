"""Refuse a run that cannot succeed with the agent's current configuration, before anything is sent."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from ..conf import get_conf
from ..exceptions import (
    AgentDisabled,
    LLMFileError,
    ModelNotAvailable,
    OutputSchemaInvalid,
    ProviderDisabled,
    ZangoAIError,
)
from ..files.file import LLMFile
from ..ledger.recorder import RunRecorder
from ..output import json_schema
from ..providers import checks
from ..types import AgentSpec, ProviderSpec, Target

logger = logging.getLogger("zango_ai.agent")


def require_enabled(agent: AgentSpec) -> None:
    """Raises AgentDisabled, ProviderDisabled, ModelNotAvailable."""
    if not agent.is_enabled:
        raise AgentDisabled(
            agent.name, f"Agent {agent.name!r} is disabled in schema {agent.schema!r}. Enable it in the admin."
        )
    provider = agent.provider
    if not provider.is_enabled:
        raise ProviderDisabled(
            provider.name,
            f"Provider {provider.name!r} of agent {agent.name!r} is disabled. Enable it in the admin, or give "
            "the agent another provider.",
        )
    if not agent.model:
        raise ModelNotAvailable(
            "",
            provider.name,
            f"Neither agent {agent.name!r} nor its provider {provider.name!r} has a model. Set the agent's model "
            "or the provider's default model in the admin.",
        )
    if not provider.allows(agent.model):
        raise ModelNotAvailable(
            agent.model,
            provider.name,
            f"Model {agent.model!r} of agent {agent.name!r} is not enabled on provider {provider.name!r}. "
            "Enable it in the provider's list of models, or choose another model for the agent.",
        )


def require_usable(provider: ProviderSpec, model: str) -> None:
    """For a run without an agent. Raises ProviderDisabled, ModelNotAvailable."""
    if not provider.is_enabled:
        raise ProviderDisabled(
            provider.name, f"Provider {provider.name!r} is disabled. Enable it in the admin, or use another one."
        )
    if not model:
        raise ModelNotAvailable(
            "",
            provider.name,
            f"Provider {provider.name!r} has no default model. Set one in the admin, or pass model=.",
        )
    if not provider.allows(model):
        raise ModelNotAvailable(
            model,
            provider.name,
            f"Model {model!r} is not enabled on provider {provider.name!r}. Enable it in the provider's list of "
            "models, or pass another one.",
        )


def require_schema(agent: AgentSpec) -> None:
    """Raises OutputSchemaInvalid."""
    if agent.output_schema != "json" or agent.output_json_schema is None:
        return
    problem = json_schema.problem_of(agent.output_json_schema)
    if problem is not None:
        raise OutputSchemaInvalid(f"The JSON schema of agent {agent.name!r} is not valid: {problem}")


def load_files(recorder: RunRecorder, files: Sequence[LLMFile]) -> None:
    """Read the files and store copies of them. Raises LLMFileError."""
    if not files:
        return
    conf = get_conf()
    if len(files) > conf.max_files:
        extra = files[conf.max_files].filename
        raise LLMFileError(
            extra,
            f"{len(files)} files are too many, from {extra!r} on: send {conf.max_files} at most, or raise "
            "ZANGO_AI['MAX_FILES'].",
        )
    recorder.start()  # a slow storage takes time, in which the process may be killed
    for file in files:
        file.load(conf.max_file_bytes)
        recorder.attach_file(file)


def targets(agent: AgentSpec, files: Sequence[LLMFile]) -> list[Target]:
    """The agent's own provider and model, then the fallbacks that can be used now."""
    primary = Target(agent.provider, agent.model)
    _require_fit(agent, primary, files)
    return [primary, *(target for target in agent.fallbacks if _is_usable(agent, target, files))]


def _require_fit(agent: AgentSpec, target: Target, files: Sequence[LLMFile]) -> None:
    limits = [limit for budget in (agent.budget, target.provider.budget) if (limit := budget.limit_usd) is not None]
    # With a budget of 0 nothing may be spent, so the reservation raises BudgetExceeded whatever the price.
    needs_price = bool(limits) and 0 not in limits
    has_tools = bool(agent.tools and agent.max_tool_rounds)
    checks.require_fit(target, files, needs_tools=has_tools, needs_price=needs_price)


def _is_usable(agent: AgentSpec, target: Target, files: Sequence[LLMFile]) -> bool:
    """Whether a fallback is enabled and can take the request."""
    try:
        require_usable(target.provider, target.model)
    except ZangoAIError:
        return False
    try:
        _require_fit(agent, target, files)
    except ZangoAIError as exc:
        logger.warning("Agent %r of %r skips a fallback: %s", agent.name, agent.schema, exc)
        return False
    return True


def require_able(agent: AgentSpec, target: Target) -> None:
    """Raise the error because of which a run of the agent without files could not use the target."""
    require_usable(target.provider, target.model)
    _require_fit(agent, target, ())
