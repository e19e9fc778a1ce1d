"""One run of an agent: from a question, or from where it had waited for a person, to its end.

::

    with ledger.record(schema, ...) as entry:
        run = Run(entry, agent, typed, trigger)
        run.ask(composed, session)                  # or run.go_on(waiting, decisions, session)
    return run.response()
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from . import answers, composition, fitness
from .composition import Composed
from .engine import drivers, turns
from .exceptions import LLMFileError, ZangoAIError
from .files import LLMFile
from .providers import chat, errors
from .store import kept_files, ledger, memory, waiting
from .tool_use import Decision, Toolbox
from .typed_output import OutputType
from .types import AgentSpec, LLMResponse, LLMUsage, ModelAnswer, Target, ToolRequest

_CHANCE = turns.Chance(now=time.monotonic, random=random.random)


class Run:
    """A run under way, and its response when it is over."""

    def __init__(self, entry: ledger.Entry, agent: AgentSpec, typed: OutputType | None, *, trigger: str) -> None:
        self.toolbox = Toolbox(agent, entry, trigger=trigger)
        self._entry, self._agent, self._typed = entry, agent, typed
        self._session: memory.Session | None = None
        self._composed: Composed | None = None
        self._answer: ModelAnswer | None = None
        self._parsed: Any = None

    def ask(
        self,
        composed: Composed,
        targets: Sequence[Target],
        session: memory.Session | None,
        max_tool_rounds: int,
    ) -> None:
        """Ask the model, and call the tools that it asks for, until it has answered or a person has to approve."""
        request = composed.request
        if not max_tool_rounds:
            request = composition.without_tools(request)
        start = turns.GoingOn(request, max_tool_rounds, self._agent.output_retries)
        self._go(composed, targets, session, start)

    def go_on(self, run: waiting.Waiting, decisions: Mapping[str, Decision]) -> None:
        """From where the run has waited."""
        state = run.goes_on_with
        self.toolbox.take_over(run, decisions)
        messages = composition.read_back(state["messages"], lambda told: self._file(run, told))
        self.toolbox.exchanged = list(composition.read_back(state["exchanged"], lambda told: self._file(run, told)))
        request = composition.request_of(self._agent, messages, self.toolbox.schemas)
        composed = Composed(request, messages[state["said"][0] : state["said"][1]], "", "")
        session = memory.Session(**state["session"]) if state["session"] else None
        asked = state["answer"]
        calls = tuple(ToolRequest(**call) for call in asked["tool_calls"])
        said = ModelAnswer(asked["content"], asked["model"], "end_turn", LLMUsage(), None, {}, calls)
        targets = fitness.targets(self._agent, request.files)
        start = turns.GoingOn(request, state["tool_rounds"], state["corrections"], said)
        self._go(composed, targets, session, start)

    def _go(
        self,
        composed: Composed,
        targets: Sequence[Target],
        session: memory.Session | None,
        start: turns.GoingOn,
    ) -> None:
        self._composed, self._session = composed, session
        reading = answers.Reading(self._agent, self._typed, self._entry, session, composed, self.toolbox)
        conversation = turns.answer(start, targets, _CHANCE, reading.read)
        self._answer = drivers.drive(conversation, self._ask, lambda step: self.toolbox.use(step, self._pause))
        self._parsed = reading.parsed
        if self.toolbox.pending:
            self._entry.pause()
        else:
            self._entry.succeed()

    def _ask(self, step: turns.Ask) -> ModelAnswer:
        """One call to a provider, written down before and after."""
        provider = step.target.provider
        request = chat.shaped(provider, step.request)
        self._entry.begin_round(step.target, request, chat.estimate(provider, request))
        try:
            answer = chat.ask(provider, request)
        except ZangoAIError as exc:
            self._entry.fail_round(exc, errors.words_of(exc))
            raise
        self._entry.settle_round(answer)
        return answer

    def _pause(self, step: turns.UseTools) -> None:
        """Note what the run goes on with, in whatever process that will be."""
        composed, session, at = self._composed, self._session, step.going_on
        assert composed is not None
        ends = len(composed.request.messages)
        # As text: the column sorts the keys of objects, and a model answers in the order of a schema's.
        schema = None if self._typed is None else json.dumps(self._agent.output_json_schema)
        self._entry.note_waiting(
            {
                "messages": composition.logged(at.request.messages),
                "said": [ends - len(composed.said), ends],
                "exchanged": composition.logged(self.toolbox.exchanged),
                "answer": {
                    "content": step.answer.content,
                    "model": step.answer.model,
                    "tool_calls": composition.logged_calls(step.answer.tool_calls),
                },
                "tool_rounds": at.tool_rounds,
                "corrections": at.corrections,
                "session": None if session is None else session.lasting(),
                "output_json_schema": schema,
            }
        )

    def _file(self, run: waiting.Waiting, told: Mapping[str, Any]) -> LLMFile:
        """A file that went along before the run waited."""
        if told.get("url"):
            return LLMFile.from_url(told["url"], told["media_type"] or None)
        content = kept_files.content_of(self._agent.schema, run.invocation_id, told["sha256"])
        if content is None:
            raise LLMFileError(
                told["filename"],
                f"File {told['filename']!r} went along with run {run.run_id} and is not in the storage any more, "
                "so the run cannot go on.",
            )
        return LLMFile.from_bytes(content, told["media_type"], told["filename"])

    def response(self) -> LLMResponse:
        entry, answer, session = self._entry, self._answer, self._session
        assert answer is not None
        assert entry.invocation_id is not None
        return LLMResponse(
            content=answer.content,
            parsed_content=self._parsed,
            session_id=None if session is None else session.session_id,
            cost_usd=float(entry.cost_usd or Decimal(0)),
            is_cost_known=entry.cost_usd is not None,
            usage=entry.usage,
            model=answer.model,
            latency_ms=entry.latency_ms,
            stop_reason=answer.stop_reason,
            tool_calls=self.toolbox.calls,
            pending_approvals=self.toolbox.pending,
            invocation_id=entry.invocation_id,
            run_id=entry.run_id,
        )
