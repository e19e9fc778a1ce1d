"""The first phase of a run: read the agent, compose the request and store its files. Nothing is sent."""

from __future__ import annotations

from dataclasses import dataclass

from ..configuration import agents
from ..configuration.overrides import Overrides
from ..exceptions import AgentNotFound
from ..ledger.recorder import RunRecorder
from ..types import AgentSpec
from . import argument_warnings, preflight, request_builder
from .answers import OutputOverride
from .arguments import RunRequest
from .engine import LoopState
from .request_builder import ComposedRequest
from .tool_use import Toolbox


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparedRun:
    """A run whose agent is read and whose first request is composed."""

    recorder: RunRecorder
    agent: AgentSpec
    """With the overrides and the output type of this run."""
    overrides: Overrides
    output: OutputOverride
    toolbox: Toolbox
    composed: ComposedRequest
    """Without the conversation's history, unless the run is resumed."""
    start: LoopState
    """The state in which the loop starts, without the history."""
    opens_session: bool
    session_id: str | None
    """The session to open. None: a new one."""
    user_ref: object
    stores_chunks: bool = False
    """Whether the run is streamed, and its chunks are stored for readers in other processes."""


def prepare(recorder: RunRecorder, agent_name: str, request: RunRequest) -> PreparedRun:
    """Raises every error that can be found before the session is opened and a provider is called."""
    agents.require_same_tenant(agent_name, recorder.schema)
    recorder.note_caller(request.user_ref, request.variables, request.system_variables)
    request.require_types()
    configured = read_agent(recorder, agent_name, request.overrides)
    output = OutputOverride.from_argument(request.output_type)
    agent = output.apply(configured)
    argument_warnings.log_warnings(agent, request)
    toolbox = Toolbox(agent, recorder, trigger=request.trigger)
    recorder.note(output_schema=agent.output_schema)
    max_tool_rounds = request.tool_rounds(agent)
    composed = request_builder.compose(agent, request, toolbox.schemas if max_tool_rounds else ())
    recorder.note_prompts(composed.system_text, composed.user_text)
    preflight.require_schema(agent)
    preflight.load_files(recorder, composed.request.files)
    return PreparedRun(
        recorder=recorder,
        agent=agent,
        overrides=request.overrides,
        output=output,
        toolbox=toolbox,
        composed=composed,
        start=LoopState(composed.request, max_tool_rounds, agent.output_retries),
        opens_session=agent.has_memory,
        session_id=request.session_id,
        user_ref=request.user_ref,
    )


def read_agent(recorder: RunRecorder, name: str, overrides: Overrides) -> AgentSpec:
    """The agent's current configuration with the overrides. Raises an error if the agent cannot run."""
    agent = agents.read_agent(name)
    if agent is None:
        raise AgentNotFound(name, f"Agent {name!r} has been deleted from schema {recorder.schema!r}.")
    agent = overrides.apply(agent)
    recorder.note_agent(agent)
    preflight.require_enabled(agent)
    return agent
