"""OpenTelemetry's view of runs: spans and metrics, if ``opentelemetry-api`` is installed.

::

    trace = begin_run(schema, agent_name=..., run_id=...)       # the span "invoke_agent"
    with trace.call(target, request, is_streamed=False) as step:  # the span "chat"
        with step.active():                                     # spans that begin here are its children
            ...
        step.answered(answer)
    trace.end(...)

The classes of this module record nothing. They are used if OpenTelemetry is not installed; ``recording`` has the
ones that record. The package is imported by the first run, never by ``django.setup()``.

No span and no metric has texts: neither prompts, answers, tool arguments and results, nor the messages of errors.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from functools import lru_cache
from types import ModuleType, TracebackType
from typing import TYPE_CHECKING, Self
from uuid import UUID

if TYPE_CHECKING:
    from decimal import Decimal

    from ..types import AgentSpec, LLMUsage, ModelAnswer, ModelRequest, Target

_INACTIVE: AbstractContextManager[None] = nullcontext()


class Step:
    """A call to the provider or to a tool. It ends when the block is left."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        return None

    def active(self) -> AbstractContextManager[None]:
        """Make the step's span the current one. The block must not contain a ``yield`` to the caller."""
        return _INACTIVE

    def answered(self, answer: ModelAnswer) -> None:
        """The provider has answered."""

    def tool_ended(self, status: str) -> None:
        """The tool has ended with this status of its row."""


class RunTrace:
    """One run in this process, from its start or its resumption until it ends or pauses."""

    def note_agent(self, agent: AgentSpec) -> None:
        """The agent's configuration, once it is read."""

    def note_session(self, session_id: str) -> None:
        """The conversation, once it is opened."""

    def call(
        self,
        target: Target,
        request: ModelRequest,
        *,
        round_number: int,
        is_streamed: bool,
        partial: Callable[[], ModelAnswer | None],
    ) -> Step:
        """A call to the provider. ``partial`` returns what a stream has produced, if the call fails."""
        return NO_STEP

    def tool(self, name: str, call_id: str) -> Step:
        """The execution of a tool."""
        return NO_STEP

    def parent_to_store(self) -> dict[str, str]:
        """The current trace as W3C headers, for the process that continues the run."""
        return {}

    def end(
        self,
        *,
        status: str,
        invocation_id: int | None,
        usage: LLMUsage,
        cost_usd: Decimal | None,
        error: BaseException | None,
    ) -> None:
        """The run has ended or paused. ``cost_usd`` is None if it is unknown."""


NO_STEP = Step()
NO_TRACE = RunTrace()


def begin_run(
    schema: str, *, agent_name: str, run_id: UUID, trigger: str = "", parent: Mapping[str, str] | None = None
) -> RunTrace:
    """Begin the span of a run. Without an agent, there is only a span for each call.

    ``parent`` is what ``parent_to_store()`` returned in the process that queued or paused the run.
    """
    recording = _recording()
    if recording is None:
        return NO_TRACE
    trace: RunTrace = recording.begin_run(schema, agent_name, run_id, trigger, parent or {})
    return trace


def queue_run() -> RunTrace:
    """For a run that this process only queues: there is no span, but the current trace is stored."""
    recording = _recording()
    if recording is None:
        return NO_TRACE
    trace: RunTrace = recording.QueuedTrace()
    return trace


@lru_cache(maxsize=1)
def _recording() -> ModuleType | None:
    """None if OpenTelemetry is not installed."""
    try:
        from . import recording
    except ImportError:
        return None
    return recording
