"""Direct calls: send messages to a provider without an agent.

A direct call is a run like an agent's: the same loop, retries, log and limits. Its row has no agent. Its timeout is
that of a new agent, as are its default temperature and max tokens.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator, Iterable, Mapping
from contextlib import AbstractContextManager, ExitStack
from typing import Any, cast

from .. import argument_checks, tenancy
from ..configuration import agents
from ..exceptions import InputRequired, ProviderNotFound
from ..ledger.recorder import RunRecorder
from ..ledger.recording import record_run
from ..models import AgentConfig, Provider
from ..types import AgentSpec, LLMMessage, LLMResponse, LLMStreamChunk, ProviderSpec
from . import async_context, drivers, preflight, queue, request_builder, run
from .answers import OutputOverride
from .arguments import RunRequest
from .drivers import Work
from .engine import LoopState
from .preparation import PreparedRun
from .request_builder import ComposedRequest
from .tool_use import Toolbox


def complete(provider: Provider, *, messages: Iterable[LLMMessage], **keywords: Any) -> LLMResponse:
    """``Provider.complete()``. ``keywords`` are those arguments of a run that it takes."""
    return drivers.exhaust(_work(provider, *_recording(provider, messages, keywords)))


async def acomplete(provider: Provider, *, messages: Iterable[LLMMessage], **keywords: Any) -> LLMResponse:
    """``Provider.acomplete()``."""
    return await drivers.run_async(_work(provider, *_recording(provider, messages, keywords)))


def stream(
    provider: Provider, *, messages: Iterable[LLMMessage], **keywords: Any
) -> Generator[LLMStreamChunk, None, None]:
    """``Provider.stream()``."""
    request, recording = _recording(provider, messages, keywords)
    with ExitStack() as stack:
        prepared = _prepare(stack.enter_context(recording), provider, request)
        return tenancy.keep_active(run.stream(prepared, stack.pop_all()))


def astream(
    provider: Provider, *, messages: Iterable[LLMMessage], **keywords: Any
) -> AsyncGenerator[LLMStreamChunk, None]:
    """``Provider.astream()``."""
    request, recording = _recording(provider, messages, keywords)
    return drivers.stream_async(_streamed_work(provider, request, recording), async_context.of_event_loop())


def _recording(
    provider: Provider, messages: Iterable[LLMMessage], keywords: Mapping[str, Any]
) -> tuple[RunRequest, AbstractContextManager[RunRecorder]]:
    """The request of a call, and the recording of its run, which begins when it is entered."""
    task_id = queue.current_task_id() or ""
    request = RunRequest(messages=messages, **keywords, default_trigger="task" if task_id else "user")
    recording = record_run(provider.schema, agent_name="", triggered_by=request.trigger, celery_task_id=task_id)
    return request, recording


def _work(
    provider: Provider, request: RunRequest, recording: AbstractContextManager[RunRecorder]
) -> Work[LLMResponse]:
    with recording as recorder:
        return (yield from run.work_of(run.open_run(_prepare(recorder, provider, request))))


def _streamed_work(
    provider: Provider, request: RunRequest, recording: AbstractContextManager[RunRecorder]
) -> Work[None]:
    with ExitStack() as stack:
        prepared = _prepare(stack.enter_context(recording), provider, request)
        work = run.streamed_work_of(prepared, stack.pop_all())
    yield from work


def _prepare(recorder: RunRecorder, provider: Provider, request: RunRequest) -> PreparedRun:
    """Raises every error that can be found before the provider is called."""
    provider.require_same_tenant()
    recorder.note_caller(request.user_ref, None, None)
    turn = argument_checks.as_tuple(cast(Iterable[LLMMessage], request.messages), LLMMessage, "messages")
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
