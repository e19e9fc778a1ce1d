"""Direct calls: send messages to a provider without an agent.

A direct call is a run like an agent's: the same loop, retries, log and limits. Its row has no agent. Its timeout is
that of a new agent, as are its default temperature and max tokens.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from .. import argument_checks
from ..configuration import agents
from ..exceptions import InputRequired, ProviderNotFound
from ..ledger.recorder import RunRecorder, record_run
from ..models import AgentConfig, Provider
from ..types import AgentSpec, LLMMessage, LLMResponse, ProviderSpec
from . import preflight, queue, request_builder
from .answers import OutputOverride
from .arguments import RunRequest
from .engine import LoopState
from .preparation import PreparedRun
from .request_builder import ComposedRequest
from .run import execute, open_run
from .tool_use import Toolbox


def complete(provider: Provider, *, messages: Iterable[LLMMessage], **keywords: Any) -> LLMResponse:
    """``Provider.complete()``. ``keywords`` are those arguments of a run that it takes."""
    task_id = queue.current_task_id() or ""
    request = RunRequest(messages=messages, **keywords, default_trigger="task" if task_id else "user")
    with record_run(
        provider.schema, agent_name="", triggered_by=request.trigger, celery_task_id=task_id
    ) as recorder:
        return execute(open_run(_prepare(recorder, provider, messages, request)))


def _prepare(
    recorder: RunRecorder, provider: Provider, messages: Iterable[LLMMessage], request: RunRequest
) -> PreparedRun:
    """Raises every error that can be found before the provider is called."""
    provider.require_same_tenant()
    recorder.note_caller(request.user_ref, None, None)
    turn = argument_checks.as_tuple(messages, LLMMessage, "messages")
    agent = _read_settings(recorder, provider, request)
    composed = _compose(agent, turn)
    recorder.note_prompts(composed.system_text, composed.user_text)
    preflight.load_files(recorder, composed.request.files)
    return PreparedRun(
        recorder=recorder,
        agent=agent,
        overrides=request.overrides,
        output=OutputOverride(),
        toolbox=Toolbox(agent, recorder, trigger=request.trigger),
        composed=composed,
        start=LoopState(composed.request, tool_rounds_left=0, output_retries_left=0),
        opens_session=False,
        session_id=None,
        user_ref=request.user_ref,
    )


def _read_settings(recorder: RunRecorder, provider: Provider, request: RunRequest) -> AgentSpec:
    """The provider's current configuration with the settings of this call. Raises an error if it cannot be used."""
    spec = agents.read_provider(provider.pk)
    if spec is None:
        raise ProviderNotFound(
            provider.name, f"Provider {provider.name!r} has been deleted from schema {recorder.schema!r}."
        )
    agent = request.overrides.apply(_new_agent(recorder.schema, spec))
    recorder.note(
        provider_id=spec.id,
        provider_name=spec.name,
        model=agent.model,
        timeout_seconds=agent.timeout_seconds,
        output_schema=agent.output_schema,
    )
    preflight.require_usable(spec, agent.model)
    return agent


def _new_agent(schema: str, provider: ProviderSpec) -> AgentSpec:
    """The settings of a new agent on that provider. It has no row, so it has no name, budget, tools or memory."""
    defaults = AgentConfig()
    return AgentSpec(
        id=0,
        name="",
        schema=schema,
        is_enabled=True,
        provider=provider,
        model=provider.default_model,
        system_prompt=None,
        user_prompt=None,
        temperature=defaults.temperature,
        max_tokens=defaults.max_tokens,
        timeout_seconds=defaults.timeout_seconds,
        output_schema="text",
        output_json_schema=None,
    )


def _compose(agent: AgentSpec, messages: tuple[LLMMessage, ...]) -> ComposedRequest:
    """Raises InputRequired."""
    name = agent.provider.name
    if not messages:
        raise InputRequired(name, f"messages for provider {name!r} is empty. Pass at least one message.")
    return ComposedRequest(
        request_builder.model_request(agent, messages, tools=()),
        turn=messages,
        turn_start=0,
        system_text="\n\n".join(message.content for message in messages if message.role == "system"),
        user_text=next((message.content for message in reversed(messages) if message.role == "user"), ""),
    )
