"""The log of runs: a row for every run, a row for every call to a provider, and their sums.

::

    with ledger.record(schema, agent_name=..., ...) as entry:   # nothing written yet
        entry.describe(agent), entry.note_texts(...)            # what is learned before the call
        entry.begin_round(...)                                  # reserved, and both rows are there, as "running"
        entry.settle_round(...)                                 # once for each call to the provider
        entry.succeed()                                         # the last of them is settled with the run

Whatever is raised inside the block is put on the row, gets its ``invocation_id``, and goes on. The rows are
written on the ledger's own connection (see ``own_connection``); callers' values cannot break them (see
``recordable``). What a call reserves and settles is in ``rounds``.
"""

from __future__ import annotations

import json
import logging
import secrets
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from datetime import datetime
from decimal import Decimal
from typing import Any

from django.db import Error, InterfaceError, OperationalError

from .. import sanitize
from ..database import writer
from ..exceptions import LogUnavailable
from ..files.file import LLMFile
from ..models import Invocation
from ..types import AgentSpec, Estimate, LLMUsage, ModelAnswer, ModelRequest, Target
from . import alerts, clock, outcomes, reservations, rounds, stored_files, stored_runs, tool_calls, transcript
from .reservations import Reservation
from .run_state import RunState

logger = logging.getLogger("zango_ai.ledger")

Status = Invocation.Status
_MAX_ERROR_CHARS = 4_000
_LOCK_NOT_AVAILABLE = "55P03"
_WAITS_BEFORE_WRITING_AGAIN_S = (0.25, 0.5, 1.0, 2.0)
"""At the end of a run, where the database cannot be reached: a restart takes a few seconds."""


class Entry:
    """One run on its way into the log."""

    def __init__(self, schema: str, columns: dict[str, Any], *, agent_name: str) -> None:
        self.schema, self.agent_name = schema, agent_name
        self.run_id = uuid.uuid4()
        self.invocation_id: int | None = None
        self.usage = LLMUsage()
        self.cost_usd: Decimal | None = Decimal(0)
        """None as soon as one round's cost is not known."""
        self.rounds_count = 0
        self.latency_ms = 0
        """Wall clock of the whole run, once it is settled."""
        self._columns = columns
        self.again: Callable[[BaseException], RunState | None] = lambda exc: None
        """What the run goes on with after that error, queued once more; None where it has failed."""
        self.has_stopped_before = False
        self._worked_ms = 0
        """How long it had worked before it waited for a person."""
        self._started = time.monotonic()
        self._started_at = clock.now()
        self._agent: AgentSpec | None = None
        self._calls: list[_Call] = []
        """Those that are begun and not settled: the one under way, and those that could not be written."""
        self._alerts: list[tuple[Reservation, rounds.Crossing]] = []
        self._files: list[Mapping[str, Any]] = []
        """Rows of files that are not written yet."""
        self._files_count = 0
        self._is_ending = False
        """All that will be known of the run is in the columns."""
        self._steps: list[Callable[[], object]] = [self._write_settlements, self._write, self._write_files]
        """What is written when the run ends or stops."""
        self._last_steps: list[Callable[[], object]] = []
        """What is written after them when it ends."""

    def note(self, **columns: Any) -> None:
        """Columns of the invocation that have become known; written with the next statement."""
        self._columns.update(columns)

    def note_caller(
        self,
        user_ref: object,
        variables: Mapping[str, Any] | None,
        system_variables: Mapping[str, Any] | None,
    ) -> None:
        """Note what the caller passed; any value will do."""
        self.note(user_ref="" if user_ref is None else sanitize.shown(user_ref))
        for name, values in (("variables", variables), ("system_variables", system_variables)):
            if values is not None:
                self.note(**{name: sanitize.document(values)})

    def note_texts(self, system_text: str, user_text: str) -> None:
        """Note the prompts as they are sent."""
        self.note(rendered_system_prompt=sanitize.text(system_text), rendered_user_prompt=sanitize.text(user_text))

    def note_answer(self, content: str) -> None:
        """Note what the model said, before it is known whether that will do."""
        self.note(response_content=sanitize.text(content))

    def open(self) -> None:
        """Write the row as ``running`` before the first call does. Raises LogUnavailable."""
        try:
            self.note(status=Status.RUNNING.value)
            self._write()
        except Error as exc:
            raise self._unavailable(exc) from exc

    def attach(self, file: LLMFile) -> None:
        """Keep a file that goes along; its row is written before the next call."""
        self._files.append(stored_files.keep(self.schema, file, position=self._files_count + 1))
        self._files_count += 1

    def describe(self, agent: AgentSpec) -> None:
        """Note which agent, provider and prompts the run uses."""
        self._agent = agent
        self.note(
            agent_id=agent.id,
            provider_id=agent.provider.id,
            provider_name=agent.provider.name,
            model=agent.model,
            timeout_seconds=agent.timeout_seconds,
        )
        for role, prompt in (("system", agent.system_prompt), ("user", agent.user_prompt)):
            if prompt is not None:
                self.note(**{f"{role}_prompt_name": prompt.name, f"{role}_prompt_version": prompt.version})

    def begin_round(self, target: Target, request: ModelRequest, estimate: Estimate) -> None:
        """Reserve what the call may use and write its row, and of the first call the run's row, as ``running``.

        Raises BudgetExceeded, RateLimitExceeded, LogUnavailable; then nothing may be sent.
        """
        assert self._agent is not None
        self.note(provider_id=target.provider.id, provider_name=target.provider.name, model=target.model)
        reservation = reservations.reserve(self._agent, target, estimate)
        try:
            self._write_settlements()  # of an earlier call, where that has failed before
            call = _Call(self.rounds_count + 1, reservation)
            self._calls.append(call)
            begun = self._begin(call, target, request)
        except Error as exc:  # it may have been written all the same: fail() undoes it then
            raise self._unavailable(exc) from exc
        self.invocation_id = begun.invocation_id
        self._columns = {}
        if not begun.is_granted:
            self._calls.remove(call)
            raise outcomes.refusal(reservation, begun)
        self.rounds_count, call.paced_at, call.is_sent = call.number, begun.at, True
        self._begin_files()

    def at_end(self, step: Callable[[], object]) -> None:
        """Have something more written at the end of the run; again in a moment where the database is away."""
        self._last_steps.append(step)

    def write_later(self, step: Callable[[], object]) -> None:
        """What could not be written just now is written when the run ends or stops."""
        self._steps.append(step)

    def _unavailable(self, exc: Error) -> LogUnavailable:
        return outcomes.unavailable(f"The log of schema {self.schema!r} cannot be written", exc)

    def _begin_files(self) -> None:
        try:
            self._write_files()
        except Error:  # once more at the end of the run
            logger.exception("Could not write the files of run %s in %s", self.run_id, self.schema)

    def _write_files(self) -> None:
        if self._files:
            stored_files.write(self.schema, self.run_id, self._files, clock.now())
            self._files = []

    def _begin(self, call: _Call, target: Target, request: ModelRequest) -> rounds.Begun:
        now = clock.now()
        sums = _sums(call.number, self.cost_usd, self.usage)
        run = {**self._columns, **sums, "status": Status.RUNNING.value, "updated_at": now}
        is_first = self.invocation_id is None
        if is_first:
            run |= {"run_id": self.run_id, "created_at": now, "started_at": self._started_at}
        round_ = {
            "number": call.number,
            "provider_name": target.provider.name,
            "model": target.model,
            "status": Status.RUNNING.value,
            "request_tools": sanitize.document(transcript.tools_to_json(request.tools)),
            "request_messages": sanitize.document(transcript.messages_to_json(request.messages)),
            "created_at": now,
            "updated_at": now,
        }
        return rounds.begin(self.schema, self.run_id, run, round_, call.reservation, is_first=is_first)

    def settle_round(self, answer: ModelAnswer, *, is_last: bool) -> None:
        """The provider has answered: what it said and what it cost.

        ``is_last``: nothing is left to do but to end the run, so that is one statement with it.
        """
        self._account(
            answer.usage,
            answer.cost_usd,
            status=Status.SUCCESS.value,
            stop_reason="tool_use" if answer.tool_calls else answer.stop_reason,
            request_params=sanitize.document(answer.request_params),
            response_content=sanitize.text(answer.content),
            response_tool_calls=sanitize.document(transcript.calls_to_json(answer.tool_calls)),
        )
        if is_last:
            self._calls[-1].ends_run = True
        else:
            self._settle()

    def fail_round(self, exc: BaseException, words: str) -> None:
        """The provider has not answered. ``words`` are its own, for staff to read."""
        self._account_failure(exc, words)
        self._settle()

    def _account_failure(self, exc: BaseException, words: str) -> None:
        is_free = not (self._calls[-1].is_sent and outcomes.may_be_billed(exc))
        self._account(
            LLMUsage(),
            Decimal(0) if is_free else None,
            status=outcomes.status_of(exc),
            error_type=type(exc).__name__[:200],
            error_message=sanitize.text(words, _MAX_ERROR_CHARS),
            request_params=sanitize.document(getattr(exc, "request_params", {})),
        )

    def _account(self, used: LLMUsage, cost_usd: Decimal | None, **columns: Any) -> None:
        """Say what the last call has used. Where the cost is not known, what it had reserved counts."""
        call, now = self._calls[-1], clock.now()
        usage = self.usage + used
        total_usd = None if cost_usd is None or self.cost_usd is None else self.cost_usd + cost_usd
        latency_ms = round((time.monotonic() - call.started) * 1000)
        is_counted = used != LLMUsage() or cost_usd is not None
        settlement = rounds.Settlement(
            key=self.run_id,
            number=call.number,
            round={
                **columns,
                **_tokens(used),
                "cost_usd": cost_usd,
                "latency_ms": latency_ms,
                "updated_at": now,
            },
            run={**_sums(call.number, total_usd, usage), "updated_at": now},
            charged_usd=call.reservation.usd if cost_usd is None else cost_usd,
            is_unknown=cost_usd is None,
            reservation=call.reservation,
            moves=call.reservation.moves(used) if is_counted else {},
            paced_at=call.paced_at,
        )
        # All at once: what cuts in before this leaves a call that is still to be accounted for.
        self.usage, self.cost_usd, call.settlement = usage, total_usd, settlement

    def _settle(self) -> None:
        try:
            self._write_settlements()
        except Error:
            # The call has been made and may have been paid for: its answer goes on to the caller. This is written
            # before the next call, or at the end of the run.
            logger.exception("Could not settle a round of run %s in %s", self.run_id, self.schema)

    def _write_settlements(self) -> None:
        for call in list(self._calls):
            if call.settlement is None:
                continue
            settled = self._settled(call, call.settlement)
            self._alerts.extend((call.reservation, crossing) for crossing in settled.crossings)
            self._calls.remove(call)
            if settled.is_found:
                self.rounds_count = max(self.rounds_count, call.number)
        while self._alerts:
            alerts.send(self.schema, *self._alerts.pop(0))

    def _settled(self, call: _Call, settlement: rounds.Settlement) -> rounds.Settled:
        """With the end of the run, where the call was its last; by itself, where that cannot be written."""
        if call.ends_run and self._is_ending:
            try:
                settled = rounds.settle(self.schema, settlement, self._columns)
            except Error as exc:
                if _may_pass(exc):
                    raise
            else:
                if settled.is_found:
                    self._columns = {}
                return settled
        return rounds.settle(self.schema, settlement)

    def succeed(self) -> None:
        # Of a run that was given up while it went on, the row says so until now.
        self.note(error_type="", error_message="")
        self._end(Status.SUCCESS)

    def note_going_on(self, state: RunState) -> None:
        """What the run goes on with, when it is claimed. As text, since jsonb takes not every text."""
        self.note(resume_state=json.dumps(state.to_json()), claim=secrets.token_hex(12))
        self.has_stopped_before = True

    def note_end(self, answer: ModelAnswer) -> None:
        """What the answer is that ends the run, or is its last before it waits."""
        self.note_answer(answer.content)
        self.note(stop_reason=answer.stop_reason, response_model=sanitize.text(answer.model, 200))

    def queue(self, state: RunState) -> None:
        """Leave the run to whoever claims it. Raises LogUnavailable: then nobody could."""
        self.note_going_on(state)
        self.note(started_at=None)
        self._stop(Status.QUEUED)

    def pause(self) -> None:
        """The run waits for a person. Nothing of it is under way meanwhile. Raises LogUnavailable."""
        self._stop(Status.AWAITING_APPROVAL)

    def _stop(self, status: str) -> None:
        self._note_status(status)
        try:
            for step in self._steps:
                step()
        except Error as exc:
            raise self._unavailable(exc) from exc

    def fail(self, exc: BaseException) -> None:
        """Put ``exc`` on the row, and the row's id on ``exc``."""
        if self._calls and self._calls[-1].settlement is None:
            self._account_failure(exc, sanitize.shown(exc, _MAX_ERROR_CHARS))
        self.note(error_type=type(exc).__name__[:200], error_message=sanitize.shown(exc, _MAX_ERROR_CHARS))
        state = self.again(exc)
        if state is None:
            self._end(outcomes.status_of(exc))
        else:
            self.note_going_on(state)
            self._note_status(Status.QUEUED)
            self._write_all(self._steps)
        with suppress(AttributeError):  # an exception with slots cannot carry it
            exc.invocation_id = self.invocation_id  # type: ignore[attr-defined]

    def _end(self, status: str) -> None:
        self.note(finished_at=clock.now())
        if self.has_stopped_before:
            self.note(resume_state="")
            self._last_steps.append(lambda: tool_calls.end_undecided(self.schema, self.run_id))
        self._note_status(status)
        self._write_all([*self._steps, *self._last_steps])
        alerts.tell_finished(self.schema, self.run_id, self.invocation_id, self.agent_name, str(status))

    def _note_status(self, status: str) -> None:
        self._is_ending = True
        self.latency_ms = self._worked_ms + round((time.monotonic() - self._started) * 1000)
        self.note(status=str(status), latency_ms=self.latency_ms)

    def _write_all(self, steps: list[Callable[[], object]]) -> None:
        for wait_s in _WAITS_BEFORE_WRITING_AGAIN_S:
            steps = [step for step in steps if not self._is_over(step)]
            if not steps:
                return
            time.sleep(wait_s)
        for step in steps:
            self._is_over(step, is_last=True)

    def _is_over(self, step: Callable[[], object], *, is_last: bool = False) -> bool:
        """Write something at the end of the run; False where that failed and may work in a moment."""
        try:
            step()
        except (Error, ValueError, TypeError) as exc:
            if not is_last and _may_pass(exc):
                return False
            logger.exception("Could not write the end of run %s in %s", self.run_id, self.schema)
        return True

    def _write(self) -> None:
        """The row with everything that is known of the run, whether or not it is there already."""
        if self.invocation_id is not None and not self._columns:
            return
        now = clock.now()
        values = {**self._columns, "updated_at": now}
        if not self._calls:  # else the sums would tell of a round what its own row does not
            values |= _sums(self.rounds_count, self.cost_usd, self.usage)
        if self.invocation_id is None:
            values = {"run_id": self.run_id, "created_at": now, "started_at": self._started_at, **values}
        self.invocation_id = rounds.write_run(self.schema, self.run_id, values, is_new=self.invocation_id is None)
        self._columns = {}


class _Call:
    """A round that has been begun and is not settled."""

    def __init__(self, number: int, reservation: Reservation) -> None:
        self.number = number
        self.reservation = reservation
        self.started = time.monotonic()
        self.is_sent = False
        self.ends_run = False
        """It has been answered, and its run is over with it."""
        self.paced_at: datetime | None = None
        self.settlement: rounds.Settlement | None = None
        """What to write now that the call is over; kept until it is written."""


def record(schema: str, *, agent_name: str, **columns: Any) -> AbstractContextManager[Entry]:
    """Record a run of ``schema``; ``columns`` are those of the invocation that are known at the start."""
    columns["agent_name"] = agent_name
    kept = {k: sanitize.text(value, 255) if isinstance(value, str) else value for k, value in columns.items()}
    return _recorded(Entry(schema, kept, agent_name=agent_name))


def go_on(schema: str, run: stored_runs.RunRow) -> AbstractContextManager[Entry]:
    """Record what a run does that was queued or has waited for a person, and is claimed."""
    entry = Entry(schema, {}, agent_name=run.agent_name)
    entry.run_id, entry.invocation_id = run.run_id, run.invocation_id
    entry.usage, entry.cost_usd, entry.rounds_count = run.usage, run.cost_usd, run.rounds_count
    entry.has_stopped_before, entry._worked_ms = True, run.latency_ms
    return _recorded(entry)


@contextmanager
def _recorded(entry: Entry) -> Iterator[Entry]:
    try:
        yield entry
    except BaseException as exc:
        entry.fail(exc)
        raise


def _may_pass(exc: Exception) -> bool:
    """Whether writing again may help: the database is away. A lock that lasts so long may be the caller's own."""
    if writer.is_in_test_transaction() or getattr(exc.__cause__, "sqlstate", None) == _LOCK_NOT_AVAILABLE:
        return False
    return isinstance(exc, (OperationalError, InterfaceError))


def _sums(rounds_count: int, cost_usd: Decimal | None, usage: LLMUsage) -> dict[str, Any]:
    return {"rounds_count": rounds_count, "cost_usd": cost_usd, **_tokens(usage)}


def _tokens(usage: LLMUsage) -> dict[str, int]:
    return {
        "input_tokens": usage.input_tokens,
        "output_tokens": usage.output_tokens,
        "cache_creation_tokens": usage.cache_creation_tokens,
        "cache_read_tokens": usage.cache_read_tokens,
    }
