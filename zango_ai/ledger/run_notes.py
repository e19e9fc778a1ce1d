"""What becomes known of a run. The next statement of its recorder writes it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .. import redaction
from ..telemetry import RunTrace
from ..types import AgentSpec, ModelAnswer
from .run_columns import RunColumns
from .run_state import RunState


class RunNotes:
    """The part of ``RunRecorder`` that only keeps values."""

    def __init__(self, row: RunColumns, trace: RunTrace, *, has_paused: bool) -> None:
        self.trace = trace
        self._row = row
        self._agent: AgentSpec | None = None
        self._has_paused = has_paused

    def note(self, **columns: Any) -> None:
        """Set columns of the run's row."""
        self._row.set(**columns)

    def note_caller(
        self,
        user_ref: object,
        variables: Mapping[str, Any] | None,
        system_variables: Mapping[str, Any] | None,
    ) -> None:
        """What the caller has passed. Every value can be stored."""
        self._row.set_caller(user_ref, variables, system_variables)

    def note_agent(self, agent: AgentSpec) -> None:
        """The agent, its provider and its prompts. A run without an agent notes none."""
        self._agent = agent
        self._row.set_agent(agent)
        self.trace.note_agent(agent)

    def note_prompts(self, system_text: str, user_text: str) -> None:
        """The rendered prompts."""
        self._row.set(
            rendered_system_prompt=redaction.text(system_text), rendered_user_prompt=redaction.text(user_text)
        )

    def note_answer(self, content: str) -> None:
        """The model's answer, before its JSON is read."""
        self._row.set(response_content=redaction.text(content))

    def note_last_answer(self, answer: ModelAnswer) -> None:
        """The answer with which the run ends or pauses."""
        self._row.set_last_answer(answer)

    def note_resume_state(self, state: RunState) -> None:
        """The state from which another process resumes the run."""
        self._row.set_resume_state(state)
        self._has_paused = True
