"""Replay a stored run: send what it sent again, with another prompt text, model or provider.

::

    draft = PromptSpec("greeting", version=None, content="Hello {{ name }}")
    response = replay(invocation_id, Overrides(user_prompt=draft, model="gpt-5-mini"))
    Comparison.read(response.invocation_id)                 # comparison.py: both answers and their figures

The history, the variables and the files are those of the log. Tools are not executed: a call with the same
arguments gets the recorded result, any other an error. Nothing is remembered. The replay is a run of its own in the
log, under the usual budgets and limits, and its cost is real. Its ``replay_of`` names the run that it repeats.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, cast
from uuid import UUID

from .. import redaction, tenancy
from ..configuration import agents
from ..configuration.overrides import Overrides
from ..exceptions import AgentNotFound, PromptRenderError, ProviderNotFound, RunNotReplayable
from ..ledger.recorder import RunRecorder
from ..ledger.recording import record_run
from ..models import PromptVersion
from ..prompts.rendering import Renderer
from ..types import AgentSpec, LLMMessage, LLMResponse, OutputSchema, PromptSpec, Trigger
from . import preflight, recorded_run, request_builder
from .answers import OutputOverride
from .engine import LoopState
from .preparation import PreparedRun
from .recorded_results import ReplayToolbox
from .recorded_run import RecordedRun
from .run import execute, open_run

_ADVICE = "The recorded run had no value for them, so it cannot be replayed with this text."


def replay(
    invocation_id: int,
    overrides: Overrides = Overrides(),  # noqa: B008 - frozen
    *,
    replayed_by: str = "",
    triggered_by: Trigger = "user",
    batch_id: UUID | None = None,
) -> LLMResponse:
    """Run a stored run of the current tenant again, and return the new answer.

    Without overrides it sends the recorded texts to the recorded model, with the agent's current output format and
    limits. A provider in the overrides is used with its default model, unless they have a model too. Replays that
    belong together have the same ``batch_id``.

    Raises RunNotFound, RunNotReplayable and LLMFileError before anything is logged, and the errors of
    ``Agent.run()``.
    """
    recorded = recorded_run.read(invocation_id)
    recording = record_run(
        tenancy.current_schema(),
        agent_name=recorded.row.agent_name,
        triggered_by=triggered_by,
        replay_of_id=invocation_id,
        replayed_by=replayed_by,
        replay_batch=batch_id,
    )
    with recording as recorder:
        return execute(open_run(prepare(recorder, recorded, overrides)))


def prepare(recorder: RunRecorder, recorded: RecordedRun, overrides: Overrides) -> PreparedRun:
    """The replay, ready to be opened. Raises every error that can be found before a provider is called."""
    row = recorded.row
    # The texts are this user's, of this conversation, so erasing the user also erases them from the replay.
    recorder.note_caller(row.user_ref, recorded.variables, recorded.system_variables)
    recorder.note(session_id=row.session_id)
    agent = _agent(recorder, recorded, overrides)
    recorder.note(output_schema=agent.output_schema)
    toolbox = ReplayToolbox(agent, recorder, schemas=recorded.tools, calls=row.calls)
    messages, system_text, user_text = _Texts(recorded, overrides).compose()
    recorder.note_prompts(system_text, user_text)
    preflight.require_schema(agent)
    request = request_builder.model_request(agent, messages, toolbox.schemas)
    preflight.load_files(recorder, request.files)
    return PreparedRun(
        recorder=recorder,
        agent=agent,
        overrides=overrides,
        output=OutputOverride(),
        toolbox=toolbox,
        composed=request_builder.ComposedRequest(request, turn=(), turn_start=len(messages)),
        start=LoopState(request, agent.max_tool_rounds, agent.output_retries),
        opens_session=False,
        session_id=None,
        user_ref=row.user_ref,
    )


def _agent(recorder: RunRecorder, recorded: RecordedRun, overrides: Overrides) -> AgentSpec:
    """The agent's current configuration, with the settings of the recorded run and the overrides."""
    row = recorded.row
    name = agents.find_agent_name(row.agent_id)
    configured = None if name is None else agents.read_agent(name)
    if configured is None:
        raise AgentNotFound(
            row.agent_name, f"The agent {row.agent_name!r} of invocation {row.invocation_id} has been deleted."
        )
    agent = _settings(recorded, overrides).apply(configured)
    is_json = row.output_schema == "json"
    agent = replace(
        agent,
        system_prompt=overrides.system_prompt or recorded.system_prompt,
        user_prompt=overrides.user_prompt or recorded.user_prompt,
        output_schema=cast(OutputSchema, row.output_schema or agent.output_schema),
        output_json_schema=agent.output_json_schema if is_json and agent.output_schema == "json" else None,
        tools=tuple(tool.name for tool in recorded.tools),
        fallbacks=(),
    )
    recorder.note_agent(agent)
    preflight.require_enabled(agent)
    return agent


def _settings(recorded: RecordedRun, overrides: Overrides) -> Overrides:
    """The overrides, and what the recorded run used where they say nothing."""
    if overrides.provider_id in {None, recorded.provider_id}:
        if agents.read_provider(recorded.provider_id) is None:
            raise ProviderNotFound(
                recorded.provider_name,
                f"The provider {recorded.provider_name!r} of this run has been deleted. Choose another one.",
            )
        overrides = replace(
            overrides, provider_id=recorded.provider_id, model=overrides.model or recorded.model or None
        )
    temperature = recorded.parameters.get("temperature")
    max_tokens = recorded.parameters.get("max_tokens", recorded.parameters.get("max_completion_tokens"))
    if overrides.temperature is None and type(temperature) in {int, float}:
        overrides = replace(overrides, temperature=temperature)
    if overrides.max_tokens is None and type(max_tokens) is int:
        overrides = replace(overrides, max_tokens=max_tokens)
    return overrides


class _Texts:
    """The messages of a replay: those of the recorded run, with the texts of other prompts in their place."""

    def __init__(self, recorded: RecordedRun, overrides: Overrides) -> None:
        self._recorded, self._overrides = recorded, overrides
        self._renderer = Renderer()

    def compose(self) -> tuple[tuple[LLMMessage, ...], str, str]:
        """The messages, the system prompt and the user's text. Raises PromptRenderError, RunNotReplayable."""
        recorded = self._recorded
        messages, system_text = recorded.messages, recorded.system_text
        user_text = next((each.content for each in reversed(messages) if each.role == "user"), "")
        system_prompt, user_prompt = self._overrides.system_prompt, self._overrides.user_prompt
        if system_prompt is not None:
            rest = messages[1 if system_text else 0 :]
            system_text = self._render(system_prompt, recorded.system_variables)
            messages = (*([LLMMessage("system", system_text)] if system_text else ()), *rest)
        if user_prompt is not None:
            self._require_user_prompt(user_text)
            user_text = self._render(user_prompt, recorded.variables or {})
            messages = (*messages[:-1], replace(messages[-1], content=user_text))
        self._renderer.finish(_ADVICE)
        return messages, system_text, user_text

    def _render(self, prompt: PromptSpec, variables: Mapping[str, Any] | None) -> str:
        content = prompt.content or ""
        return content if variables is None else self._renderer.render(content, variables, prompt_name=prompt.name)

    def _require_user_prompt(self, user_text: str) -> None:
        """Refuse another user prompt for a run that sent a text of its own."""
        recorded, row = self._recorded, self._recorded.row
        prompt = recorded.user_prompt
        if prompt is not None and recorded.messages[-1].role == "user":
            if prompt.version is None:
                return  # a draft, which the log does not have
            content = _content_of(prompt.name, prompt.version)
            if content is not None and user_text == _rendered(content, recorded.variables or {}):
                return
        raise RunNotReplayable(
            row.run_id,
            f"Invocation {row.invocation_id} sent a message of its caller, or its user prompt is gone, so "
            "another user prompt cannot take its place. Choose another system prompt, model or provider.",
        )


def _content_of(prompt_name: str, version_number: int) -> str | None:
    """The text of a stored version, with its placeholders."""
    versions = PromptVersion.objects.filter(prompt__name=prompt_name, version_number=version_number)
    return versions.values_list("content", flat=True).first()


def _rendered(content: str, variables: Mapping[str, Any]) -> str | None:
    renderer = Renderer()
    text = renderer.render(content, variables, prompt_name="")
    try:
        renderer.finish()
    except PromptRenderError:
        return None
    return redaction.text(text)
