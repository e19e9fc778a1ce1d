"""One run of an agent: from a question, or from where it had stopped, to its end.

::

    with ledger.record(schema, ...) as entry:
        run = Run(entry, agent, typed, trigger=trigger)
        run.prepare(question)
        run.ask(session_id, user_ref, rounds)        # or run.queue(...)
    return run.response()

    with ledger.go_on(schema, row) as entry:         # of a run that was queued, or waited for a person
        run = Run(entry, agent, typed, trigger=row.triggered_by)
        run.go_on(row, row.state(), decisions)
    return run.response()
"""

from __future__ import annotations

import random
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any

from ..configuration.overrides import Overrides
from ..exceptions import LLMFileError, ZangoAIError
from ..files.file import LLMFile
from ..ledger import recording, stored_files, stored_runs, transcript
from ..ledger.run_state import RunState, SavedAnswer, SessionToOpen
from ..memory import sessions
from ..output.typed import OutputType
from ..providers import calls, checks, errors
from ..tools.approval_decisions import ApprovalDecision
from ..types import AgentSpec, LLMMessage, LLMResponse, LLMUsage, ModelAnswer, Target
from . import answers, drivers, engine, preflight, request_builder
from .request_builder import Composed, Question
from .tool_use import Toolbox

_CHANCE = engine.Chance(now=time.monotonic, random=random.random)


class Run:
    """A run under way, and its response when it is over."""

    def __init__(
        self,
        entry: recording.Entry,
        agent: AgentSpec,
        typed: OutputType | None,
        *,
        trigger: str,
        has_own_schema: bool,
        overrides: Overrides,
    ) -> None:
        """``has_own_schema``: the agent's JSON schema is this run's, and not as it is configured.

        ``overrides`` are applied to the agent already; they are kept with a run that stops.
        """
        self.toolbox = Toolbox(agent, entry, trigger=trigger)
        self._entry, self._agent, self._typed = entry, agent, typed
        self._has_own_schema, self._overrides = has_own_schema, overrides
        self._session: sessions.Session | None = None
        self._composed: Composed | None = None
        self._at: engine.GoingOn | None = None
        self._answer: ModelAnswer | None = None
        self._parsed: Any = None
        entry.note(output_schema=agent.output_schema)

    def prepare(self, question: Question) -> None:
        """Put the request together, and keep its files. Raises what can be told before anybody is asked."""
        composed = request_builder.compose(self._agent, question, self.toolbox.schemas)
        self._entry.note_texts(composed.system_text, composed.user_text)
        preflight.require_schema(self._agent)
        preflight.load(self._entry, composed.request.files)
        self._composed = composed

    def ask(self, session_id: str | None, user_ref: object, tool_rounds: int) -> None:
        """Ask the model, and call the tools that it asks for, until it has answered or a person has to approve."""
        assert self._composed is not None
        calls.warm_up()
        targets = preflight.targets(self._agent, self._composed.request.files)
        self._open_session(session_id, user_ref)
        self._go(targets, self._start(tool_rounds))

    def queue(self, session_id: str | None, user_ref: object, tool_rounds: int) -> None:
        """Leave the run to whoever claims it. Without files, litellm and its price list are not imported for it."""
        assert self._composed is not None
        checks.check_provider(self._agent.provider)
        if self._composed.request.files:
            preflight.targets(self._agent, self._composed.request.files)
        opens = None
        if self._agent.has_memory:
            self._entry.note(session_id=session_id)
            session = sessions.open_session(self._agent, session_id, user_ref)
            self._entry.note(session_id=session.session_id)
            opens = SessionToOpen(session_id=session.session_id, user_ref="" if user_ref is None else str(user_ref))
        self._at = self._start(tool_rounds)
        self._entry.queue(replace(self.state(), opens=opens))

    def go_on(self, row: stored_runs.RunRow, state: RunState, decisions: Mapping[str, ApprovalDecision]) -> None:
        """From where the run has stopped."""
        self.toolbox.restore(row, decisions)
        self.toolbox.messages = self._read_back(row, state.exchanged)
        messages = tuple(self._read_back(row, state.messages))
        request = request_builder.request_of(self._agent, messages, self.toolbox.schemas)
        if not state.tool_rounds:
            request = request_builder.without_tools(request)
        first, last = state.said
        self._composed = Composed(request, messages[first:last], "", "", first)
        if state.session is not None:
            self._session = sessions.Session.restored(state.session)
        calls.warm_up()
        targets = preflight.targets(self._agent, request.files)
        if state.opens is not None:
            self._open_session(state.opens.session_id, state.opens.user_ref)
        at = engine.GoingOn(
            self._composed.request,
            state.tool_rounds,
            state.corrections,
            None if state.answer is None else _answer_of(state.answer),
            has_used_tools=state.has_used_tools,
        )
        self._go(targets, at)

    def state(self, waiting: ModelAnswer | None = None) -> RunState:
        """All that the run goes on with, in whatever process that will be."""
        composed, at = self._composed, self._at
        assert composed is not None
        assert at is not None
        return RunState(
            messages=transcript.messages_to_json(at.request.messages),
            said=(composed.said_from, composed.said_from + len(composed.said)),
            exchanged=transcript.messages_to_json(self.toolbox.messages),
            answer=None if waiting is None else _saved_answer(waiting),
            tool_rounds=at.tool_rounds,
            has_used_tools=at.has_used_tools,
            corrections=at.corrections,
            session=None if self._session is None else self._session.saved(),
            output_json_schema=self._agent.output_json_schema if self._has_own_schema else None,
            overrides=self._overrides,
        )

    def _start(self, tool_rounds: int) -> engine.GoingOn:
        assert self._composed is not None
        request = self._composed.request
        if not tool_rounds:
            request = request_builder.without_tools(request)
        return engine.GoingOn(request, tool_rounds, self._agent.output_retries)

    def _open_session(self, session_id: str | None, user_ref: object) -> None:
        """Put the conversation before what is said, where the agent remembers one."""
        assert self._composed is not None
        if not self._agent.has_memory:
            return
        self._entry.note(session_id=session_id)
        self._session = sessions.open_session(self._agent, session_id, user_ref)
        self._entry.note(session_id=self._session.session_id)
        self._composed = self._composed.after(self._session.history)

    def _go(self, targets: Sequence[Target], start: engine.GoingOn) -> None:
        assert self._composed is not None
        reading = answers.Reading(
            self._agent, self._typed, self._entry, self._session, self._composed, self.toolbox
        )
        conversation = engine.answer(start, targets, _CHANCE, reading.read, self._stand)
        answer = drivers.drive(conversation, self._ask, self._use_tools)
        self._answer, self._parsed = answer, reading.parsed
        self._entry.note_end(answer)
        if self.toolbox.pending:
            self._entry.pause()
        else:
            self._entry.succeed()

    def _stand(self, at: engine.GoingOn) -> None:
        self._at = at

    def _ask(self, step: engine.Ask) -> ModelAnswer:
        """One call to a provider, written down before and after."""
        call = calls.prepare(step.target.provider, step.request)
        self._entry.begin_round(step.target, call.request, call.estimate)
        try:
            answer = call.send()
        except ZangoAIError as exc:
            self._entry.fail_round(exc, errors.vendor_message(exc))
            raise
        # JSON has to be read yet, which may take its time, and tools to be called.
        is_last = not answer.tool_calls and self._agent.output_schema != "json"
        self._entry.settle_round(answer, is_last=is_last)
        return answer

    def _use_tools(self, step: engine.UseTools) -> Sequence[LLMMessage] | None:
        return self.toolbox.use(step.answer, may_call=step.may_call, pause=self._pause)

    def _pause(self, answer: ModelAnswer) -> None:
        self._entry.note_going_on(self.state(answer))

    def _read_back(self, row: stored_runs.RunRow, logged: Any) -> list[LLMMessage]:
        return list(transcript.messages_from_json(logged, lambda told: self._file(row, told)))

    def _file(self, row: stored_runs.RunRow, told: Mapping[str, Any]) -> LLMFile:
        """A file that went along before the run stopped."""
        if told.get("url"):
            return LLMFile.from_url(told["url"], told["media_type"] or None)
        content = stored_files.content_of(self._agent.schema, row.invocation_id, told["sha256"])
        if content is None:
            raise LLMFileError(
                told["filename"],
                f"File {told['filename']!r} went along with run {row.run_id} and is not in the storage any more, "
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


def _saved_answer(answer: ModelAnswer) -> SavedAnswer:
    return SavedAnswer(content=answer.content, model=answer.model, tool_calls=answer.tool_calls)


def _answer_of(saved: SavedAnswer) -> ModelAnswer:
    return ModelAnswer(saved.content, saved.model, "end_turn", LLMUsage(), None, {}, saved.tool_calls)
