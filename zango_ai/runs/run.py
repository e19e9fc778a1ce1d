"""The second phase of a run: open its session, ask the model, execute its tool calls, return the response.

::

    prepared = prepare(recorder, agent_name, request)       # preparation.py
    response = execute(open_run(prepared))                  # or queue_run(prepared), for a worker

``stream()`` does the same and yields chunks. Both do the same work, which ``work_of()`` and ``streamed_work_of()``
return for other drivers.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

from ..exceptions import ZangoAIError
from ..ledger.run_state import RunState, SessionToOpen
from ..memory import sessions
from ..providers import calls, checks, errors
from ..telemetry import Step
from ..types import LLMMessage, LLMResponse, LLMStreamChunk, ModelAnswer, Target
from . import approval_requests, chunk_writer, drivers, engine, preflight, saved_state, substitution
from .answers import AnswerReader
from .drivers import Work
from .effects import InThread, Read, Send, Sleep
from .preparation import PreparedRun
from .request_builder import ComposedRequest
from .retry_policy import RetryPolicy
from .stream_chunks import StreamChunks
from .substitution import Call

_TIMING = engine.Timing(now=time.monotonic, random=random.random)


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenRun:
    """A run that is ready to ask the model."""

    prepared: PreparedRun
    composed: ComposedRequest
    """With the conversation's history."""
    session: sessions.Session | None
    """None if the agent has no memory."""
    targets: Sequence[Target]
    """The agent's provider and model, then its fallbacks."""
    start: engine.LoopState


def open_run(prepared: PreparedRun, session: sessions.Session | None = None) -> OpenRun:
    """Choose the targets and open the session, unless a resumed run has opened its ``session`` before.

    Raises an error if a file cannot be sent or a model cannot be used.
    """
    prepared = substitution.prepared(prepared)
    if substitution.needs_provider(prepared):
        calls.warm_up()
    targets = preflight.targets(prepared.agent, prepared.composed.request.files)
    session = session or _open_session(prepared)
    composed = prepared.composed if session is None else prepared.composed.with_history(session.history)
    start = replace(prepared.start, request=composed.request)
    return OpenRun(prepared=prepared, composed=composed, session=session, targets=targets, start=start)


def queue_run(prepared: PreparedRun) -> None:
    """Store the run for a worker. Unless it has files, this imports neither litellm nor its price list."""
    prepared = substitution.prepared(prepared)
    checks.check_provider(prepared.agent.provider)
    if prepared.composed.request.files:
        preflight.targets(prepared.agent, prepared.composed.request.files)
    state = saved_state.save(prepared, prepared.composed, prepared.start, session=None)
    session = _open_session(prepared)
    if session is not None:
        user_ref = "" if prepared.user_ref is None else str(prepared.user_ref)
        state = replace(state, session_to_open=SessionToOpen(session_id=session.session_id, user_ref=user_ref))
    prepared.recorder.queue(state)


def _open_session(prepared: PreparedRun) -> sessions.Session | None:
    """Raises SessionNotOwned, LogUnavailable."""
    if not prepared.opens_session:
        return None
    prepared.recorder.note(session_id=prepared.session_id)
    session = sessions.open_session(prepared.agent, prepared.session_id, prepared.user_ref)
    prepared.recorder.note(session_id=session.session_id)
    return session


def execute(run: OpenRun, retries: RetryPolicy | None = None) -> LLMResponse:
    """Ask the model until it answers or a person must approve a tool call.

    With ``retries``, an error that allows one queues the run again before it is raised. A run that stores its
    chunks is streamed, for readers in other processes.
    """
    if not run.prepared.stores_chunks:
        return drivers.exhaust(_Execution(run, retries).execute())
    has_paused = run.start.pending_answer is not None
    with chunk_writer.store_chunks(run.prepared.recorder, has_paused=has_paused) as stored:
        execution = _Execution(run, retries, is_streamed=True)
        execution.chunks = StreamChunks(has_open_text=stored.has_open_text)
        return drivers.exhaust(execution.execute(), stored.add)


def stream(
    prepared: PreparedRun, recording: AbstractContextManager[object]
) -> Generator[LLMStreamChunk[Any], None, None]:
    """Like ``open_run()`` and ``execute()``, but ask with streaming, and yield the chunks of the run.

    ``recording`` is the open ``record_run()``. It is left before the last chunks: closing the stream there changes
    nothing on the run's row.
    """
    return drivers.chunks_of(streamed_work_of(prepared, recording))


def work_of(run: OpenRun, retries: RetryPolicy | None = None) -> Work[LLMResponse]:
    """The work of ``execute()``."""
    if run.prepared.stores_chunks:  # its chunks are written to the database
        response: LLMResponse = yield InThread(lambda: execute(run, retries))
        return response
    return (yield from _Execution(run, retries).execute())


def streamed_work_of(prepared: PreparedRun, recording: AbstractContextManager[object]) -> Work[None]:
    """The work of ``stream()``."""
    return _streamed(lambda: open_run(prepared), recording)


def resumed_stream_of(run: OpenRun, recording: AbstractContextManager[object]) -> Work[None]:
    """The work of ``resume_stream()``. ``recording`` is the open ``resume_run()``."""
    return (_resumed_in_one_piece if run.prepared.stores_chunks else _streamed)(lambda: run, recording)


def _streamed(open_: Callable[[], OpenRun], recording: AbstractContextManager[object]) -> Work[None]:
    with recording:
        execution = _Execution(open_(), is_streamed=True)
        response = yield from execution.execute()
    yield from execution.chunks.end_round()
    yield execution.chunks.final(response)


def _resumed_in_one_piece(open_: Callable[[], OpenRun], recording: AbstractContextManager[object]) -> Work[None]:
    """The run's own chunks are stored for its readers."""
    chunks, run = StreamChunks(), open_()
    with recording:
        response: LLMResponse = yield InThread(lambda: execute(run))
    for call in response.tool_calls:
        if call.status != "awaiting_approval":
            yield chunks.tool(call)
    if response.content:
        yield chunks.text(response.content)
    yield chunks.final(response)


class _Execution:
    """The handlers of the loop's steps, with the loop's latest state."""

    def __init__(self, run: OpenRun, retries: RetryPolicy | None = None, *, is_streamed: bool = False) -> None:
        prepared = run.prepared
        self._run, self._retries, self._is_streamed = run, retries, is_streamed
        self.chunks = StreamChunks()
        self._call: Send | Read | None = None
        """The current call to the provider, until it is settled."""
        self._first_token_ms: int | None = None
        self._recorder, self._toolbox = prepared.recorder, prepared.toolbox
        self._loop_state = run.start
        if run.session is not None:
            self._recorder.trace.note_session(run.session.session_id)
        self._reader = AnswerReader(
            prepared.agent, prepared.output.output_type, self._recorder, run.session, run.composed, self._toolbox
        )

    def execute(self) -> Work[LLMResponse]:
        self._recorder.retry_with(self._state_to_retry)
        steps = engine.run_loop(self._run.start, self._run.targets, _TIMING, self._reader.read, self._checkpoint)
        try:
            answer = yield from drivers.drive(steps, self)
        except (GeneratorExit, asyncio.CancelledError):
            self._cancel()
            raise
        self._recorder.note_last_answer(answer)
        if self._toolbox.pending:
            self._recorder.pause()
            approval_requests.announce(self._recorder, self._toolbox.pending)
        else:
            self._recorder.succeed()
        return self._response(answer)

    def ask(self, step: engine.Ask) -> Work[ModelAnswer]:
        """Reserve, call the provider, and settle."""
        yield from self.chunks.begin_round()
        call = substitution.call_for(self._run.prepared, calls.prepare(step.target.provider, step.request))
        self._recorder.reserve_round(step.target, call.request, call.estimate)
        try:
            answer = yield from self._traced_call(step.target, call)
        except ZangoAIError as exc:
            self._recorder.fail_round(exc, errors.vendor_message(exc), self._partial_answer())
            self._call = None
            raise
        # JSON may still need a retry, and tool calls another round.
        is_last = not answer.tool_calls and self._run.prepared.agent.output_schema != "json"
        self._recorder.settle_round(answer, is_last=is_last)
        self._call = None
        return answer

    def _traced_call(self, target: Target, call: Call) -> Work[ModelAnswer]:
        """Call the provider, as one step of the run's trace."""
        with self._recorder.trace.call(
            target,
            call.request,
            round_number=self._recorder.rounds_count,
            is_streamed=self._is_streamed,
            partial=self._partial_answer,
        ) as step:
            answer = yield from (self._read_stream(call) if self._is_streamed else self._send(call, step))
            step.answered(answer)
            return answer

    def _send(self, call: Call, step: Step) -> Work[ModelAnswer]:
        sending = self._call = Send(call, step)
        answer: ModelAnswer = yield sending
        return answer

    def _read_stream(self, call: Call) -> Work[ModelAnswer]:
        started_ms = self._recorder.elapsed_ms()
        reading = self._call = Read(call, self.chunks)
        try:
            answer: ModelAnswer = yield reading
            return answer
        finally:
            if self._first_token_ms is None and reading.time_to_first_token_ms is not None:
                self._first_token_ms = started_ms + reading.time_to_first_token_ms

    def _partial_answer(self) -> ModelAnswer | None:
        """What the current call has produced so far. None if it has produced nothing or is not streamed."""
        return None if self._call is None else self._call.partial()

    def _cancel(self) -> None:
        self._reader.forget_turn()
        is_sent = self._call is not None and self._call.is_sent
        self._recorder.cancel(self._partial_answer(), is_sent=is_sent)

    def use_tools(self, step: engine.UseTools) -> Work[Sequence[LLMMessage] | None]:
        if step.may_call:  # otherwise the answer may still be corrected, which resets the round
            yield from self.chunks.end_round()
        show, pause = self.chunks.tool, self._pause
        return (yield from self._toolbox.use(step.answer, may_call=step.may_call, show=show, pause=pause))

    def wait(self, step: engine.Wait) -> Work[None]:
        yield from self.chunks.reset()
        if substitution.needs_provider(self._run.prepared):
            yield Sleep(step.seconds)

    def _checkpoint(self, state: engine.LoopState) -> None:
        self._loop_state = state

    def _pause(self, answer: ModelAnswer) -> None:
        self._recorder.note_resume_state(self._state_to_store(answer))

    def _state_to_store(self, pending_answer: ModelAnswer | None = None) -> RunState:
        run = self._run
        return saved_state.save(run.prepared, run.composed, self._loop_state, run.session, pending_answer)

    def _state_to_retry(self, exc: BaseException) -> RunState | None:
        """None if the run has failed."""
        if self._retries is None or not self._retries.allow(exc):
            return None
        return replace(self._state_to_store(), **self._retries.next_attempt(exc))

    def _response(self, answer: ModelAnswer) -> LLMResponse:
        recorder, session = self._recorder, self._run.session
        assert recorder.invocation_id is not None
        return LLMResponse(
            content=answer.content,
            parsed_content=self._reader.parsed_content,
            session_id=None if session is None else session.session_id,
            cost_usd=float(recorder.cost_usd or Decimal(0)),
            is_cost_known=recorder.cost_usd is not None,
            usage=recorder.usage,
            model=answer.model,
            latency_ms=recorder.latency_ms,
            time_to_first_token_ms=self._first_token_ms,
            stop_reason=answer.stop_reason,
            tool_calls=self._toolbox.calls,
            pending_approvals=self._toolbox.pending,
            invocation_id=recorder.invocation_id,
            run_id=recorder.run_id,
        )
