"""Read the model's final answer: as text, as JSON, or as the caller's ``output_type``; and remember the turn."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from ..exceptions import OutputParseError, OutputValidationError
from ..ledger.recorder import RunRecorder
from ..memory import sessions, window
from ..output import json_reader, json_schema
from ..output.output_type import OutputType
from ..types import AgentSpec, LLMMessage, ModelAnswer
from .request_builder import ComposedRequest
from .tool_use import Toolbox


@dataclass(frozen=True, slots=True)
class OutputOverride:
    """The ``output_type`` of one run. ``json_schema`` is None if the run uses the agent's own output."""

    json_schema: Mapping[str, Any] | None = None
    output_type: OutputType | None = None
    """None if a worker continues the run: it returns plain JSON."""

    @classmethod
    def from_argument(cls, output_type: Any) -> OutputOverride:
        """Raises TypeError or OutputSchemaInvalid if no schema can be made of ``output_type``."""
        if output_type is None:
            return cls()
        converted = OutputType(output_type)
        return cls(converted.schema, converted)

    def apply(self, agent: AgentSpec) -> AgentSpec:
        if self.json_schema is None:
            return agent
        return replace(agent, output_schema="json", output_json_schema=self.json_schema)


class AnswerReader:
    """Parses the answers of a run. Logs and remembers the last one, whether or not it is valid."""

    def __init__(
        self,
        agent: AgentSpec,
        output_type: OutputType | None,
        recorder: RunRecorder,
        session: sessions.Session | None,
        composed: ComposedRequest,
        toolbox: Toolbox,
    ) -> None:
        self.parsed_content: Any = None
        self._agent, self._output_type = agent, output_type
        self._recorder, self._composed, self._toolbox = recorder, composed, toolbox
        self._last_answer: ModelAnswer | None = None
        if session is not None:
            recorder.before_end(lambda: self._remember(session))  # also if the run fails

    def read(self, answer: ModelAnswer) -> None:
        """Raises OutputParseError or OutputValidationError."""
        self._last_answer = answer
        self._recorder.note_answer(answer.content)
        if self._agent.output_schema != "json":
            return
        try:
            self.parsed_content = self._parsed(answer)
        except (OutputParseError, OutputValidationError) as exc:
            exc.args = (f"Agent {self._agent.name!r}, model {answer.model!r}: {exc}",)
            raise

    def _parsed(self, answer: ModelAnswer) -> Any:
        value = json_reader.parse_answer(answer.content, stop_reason=answer.stop_reason)
        if self._agent.output_json_schema is not None:
            value = json_schema.validate_answer(value, self._agent.output_json_schema)
        return value if self._output_type is None else self._output_type.read(value)

    def forget_turn(self) -> None:
        """Remember nothing: the run is cancelled."""
        self._last_answer = None

    def _remember(self, session: sessions.Session) -> None:
        if self._last_answer is None:
            return
        answer = LLMMessage("assistant", self._last_answer.content)
        messages = (*self._composed.turn, *self._toolbox.messages, answer)
        turn = window.turn_to_store(messages, excluded_tools=self._toolbox.excluded_from_memory)
        run = self._recorder
        sessions.store_turn(run.schema, session, turn, run.invocation_id, run.user_ref)
