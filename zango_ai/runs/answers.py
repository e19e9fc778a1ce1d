"""Take a model's answer: as text, as JSON, or as a type of the caller's; and have it remembered."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ..ledger import recording
from ..memory import sessions, window
from ..output import json_schema, reading
from ..output.typed import OutputType
from ..types import AgentSpec, LLMMessage, ModelAnswer
from .request_builder import Composed
from .tool_use import Toolbox


def with_type(agent: AgentSpec, output_type: Any) -> tuple[AgentSpec, OutputType | None]:
    """The agent as it answers this call."""
    if output_type is None:
        return agent, None
    typed = OutputType(output_type)
    return replace(agent, output_schema="json", output_json_schema=typed.schema), typed


def with_schema(agent: AgentSpec, schema: Mapping[str, Any] | None) -> AgentSpec:
    """The agent as it began to answer a call that had an ``output_type``, of which this is the schema."""
    return agent if schema is None else replace(agent, output_schema="json", output_json_schema=schema)


class Reading:
    """Takes an answer, or raises why not; what was said last is noted and remembered in any case."""

    def __init__(
        self,
        agent: AgentSpec,
        typed: OutputType | None,
        entry: recording.Entry,
        session: sessions.Session | None,
        composed: Composed,
        toolbox: Toolbox,
    ) -> None:
        self.parsed: Any = None
        self._agent, self._typed, self._entry, self._composed = agent, typed, entry, composed
        self._toolbox = toolbox
        self._last: ModelAnswer | None = None
        if session is not None:
            # When the run ends, however that is: the model has said it.
            entry.at_end(lambda: self._remember(session))

    def read(self, answer: ModelAnswer) -> None:
        self._last = answer
        self._entry.note_answer(answer.content)
        if self._agent.output_schema != "json":
            return
        value = reading.parse(answer.content, stop_reason=answer.stop_reason)
        if self._agent.output_json_schema is not None:
            value = json_schema.fitted(value, self._agent.output_json_schema)
        self.parsed = value if self._typed is None else self._typed.read(value)

    def _remember(self, session: sessions.Session) -> None:
        if self._last is None:
            return
        said = (*self._composed.said, *self._toolbox.messages, LLMMessage("assistant", self._last.content))
        turn = window.turn_to_store(said, excluded_tools=self._toolbox.excluded_from_memory)
        sessions.store_turn(self._entry.schema, session, turn, self._entry.invocation_id)
