"""Agents and providers whose model is a script."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol, Unpack
from uuid import UUID

from ..definitions import AgentOptions
from ..types import LLMToolCall
from . import enqueued, scripted_rows
from .asked import AskedRequest
from .asserting import Assertions, ToolAssertions
from .script import Script
from .stage import STAGE
from .steps import ScriptItem

if TYPE_CHECKING:
    from ..runs.preparation import PreparedRun


class ScriptedModel(Assertions):
    """The script of one agent or provider, and what was asked."""

    kind: str

    def __init__(self, name: str) -> None:
        self.name = name
        self._owner = f"{self.kind.title()} {name!r}"
        self.steps = Script(f"{self.kind} {name!r}")

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name!r}>"

    def script(self, *steps: ScriptItem) -> None:
        """Add steps to the script."""
        self.steps.add(*steps)

    @property
    def requests(self) -> list[AskedRequest]:
        """What the model was asked, oldest first. Each call to the provider is one, retries included."""
        return self.steps.requests

    def note_run(self, run: PreparedRun) -> None:
        """A run asks the model."""

    def verify(self) -> None:
        """Raise AssertionError unless the script is used up, by no more requests than it has steps."""
        __tracebackhide__ = True
        problem = self.problem()
        if problem is not None:
            raise AssertionError(problem)

    def problem(self) -> str | None:
        """Why the script does not match what happened; None if it does."""
        return self.steps.problem()


class ScriptedProvider(ScriptedModel):
    """A provider whose calls are answered by a script. It has what ``ScriptedAgent`` has about requests."""

    kind = "provider"


class ScriptedAgent(ToolAssertions, ScriptedModel):
    """An agent whose model is a script. Everything else is the agent's own."""

    kind = "agent"

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self._runs: dict[UUID, PreparedRun] = {}

    def note_run(self, run: PreparedRun) -> None:
        self._runs[run.recorder.run_id] = run  # of a resumed run, the later one has the earlier calls too

    @property
    def tool_calls(self) -> list[LLMToolCall]:
        """All tool calls of the agent's runs, in order, with arguments, results and statuses."""
        return [call for run in self._runs.values() for call in run.toolbox.calls]

    def run_enqueued(self) -> list[UUID]:
        """Execute the runs that ``enqueue()`` has queued for this agent, as a worker would. Returns their ids."""
        return enqueued.run_enqueued(self.name)

    def problem(self) -> str | None:
        problem = super().problem()
        waiting = enqueued.count_queued(self.name) if problem is not None and not self._runs else 0
        return f"{problem}\nA queued run was not executed: call run_enqueued()." if waiting else problem


class ScriptAgent(Protocol):
    """The fixture ``scripted_agent``."""

    def __call__(self, name: str, *steps: ScriptItem, **options: Unpack[AgentOptions]) -> ScriptedAgent: ...


class ScriptProvider(Protocol):
    """The fixture ``scripted_provider``."""

    def __call__(self, name: str, *steps: ScriptItem) -> ScriptedProvider: ...


@contextmanager
def scripted(agent_name: str, *steps: ScriptItem, **options: Unpack[AgentOptions]) -> Iterator[ScriptedAgent]:
    """Inside the block, the agent's model is a script. At its end, the script must be used up.

    If the active tenant has no such agent, it is created. ``options`` are those of ``define_agent()``.
    """
    model = ScriptedAgent(agent_name)
    model.script(*steps)
    scripted_rows.ensure_agent(agent_name, options)
    with _playing(model):
        yield model


@contextmanager
def scripted_provider(provider_name: str, *steps: ScriptItem) -> Iterator[ScriptedProvider]:
    """Like ``scripted()``, for all calls to a provider: direct ones, and those of agents without a script."""
    model = ScriptedProvider(provider_name)
    model.script(*steps)
    scripted_rows.ensure_provider(provider_name)
    with _playing(model):
        yield model


@contextmanager
def _playing(model: ScriptedModel) -> Iterator[None]:
    __tracebackhide__ = True
    if STAGE.find(model.kind, model.name) is not None:
        raise ValueError(f"{model._owner} has a script already. Add steps to it with script().")
    with STAGE.playing(model=model):
        yield
        model.verify()
