"""The log of runs: a row for every run, a row for every call to a provider, and their sums.

::

    with ledger.record(schema, agent_name=..., ...) as entry:   # nothing written yet
        entry.describe(agent), entry.note_texts(...)            # what is learned before the call
        entry.begin_round(...)                                  # reserved, and both rows are there, as "running"
        entry.settle_round(...)                                 # once for each call to the provider
        entry.succeed()

Whatever is raised inside the block is put on the row, gets its ``invocation_id``, and goes on. The rows are
written on the ledger's own connection (see ``own_connection``); callers' values cannot break them (see
``recordable``). What a call reserves and settles is in ``rounds``.
"""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from decimal import Decimal
from typing import Any

from django.db import Error, InterfaceError, OperationalError
from django.utils import timezone

from .. import composition, recordable
from ..exceptions import (
    BudgetExceeded,
    LLMAPIError,
    LLMTimeoutError,
    LogUnavailable,
    RateLimitExceeded,
    ZangoAIError,
)
from ..files import LLMFile
from ..models import Invocation
from ..types import AgentSpec, Estimate, LLMUsage, ModelAnswer, ModelRequest, Target
from . import alerts, kept_files, reservations, rounds, writer
from .reservations import Reservation

logger = logging.getLogger("zango_ai.ledger")

Status = Invocation.Status
_MAX_ERROR_CHARS = 4_000
_WAITS_BEFORE_WRITING_AGAIN_S = (0.25, 0.5, 1.0, 2.0)
"""At the end of a run, where the database cannot be reached: a restart takes a few seconds."""


class Entry:
    """One run on its way into the log."""

    def __init__(self, schema: str, columns: dict[str, Any]) -> None:
        self.schema = schema
        self.run_id = uuid.uuid4()
        self.invocation_id: int | None = None
        self.usage = LLMUsage()
        self.cost_usd: Decimal | None = Decimal(0)
        """None as soon as one round's cost is not known."""
        self.rounds_count = 0
        self.latency_ms = 0
        """Wall clock of the whole run, once it is settled."""
        self._columns = columns
        self._started = time.monotonic()
        self._started_at = timezone.now()
        self._agent: AgentSpec | None = None
        self._call: _Call | None = None
        self._files: list[Mapping[str, Any]] = []
        """Rows of files that are not written yet."""
        self._steps: list[Callable[[], None]] = [self._write_settlement, self._write, self._write_files]
        """What is left to be written at the end."""

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
        self.note(user_ref="" if user_ref is None else recordable.shown(user_ref))
        for name, values in (("variables", variables), ("system_variables", system_variables)):
            if values is not None:
                self.note(**{name: _json(values)})

    def note_texts(self, system_text: str, user_text: str) -> None:
        """Note the prompts as they are sent."""
        self.note(
            rendered_system_prompt=recordable.text(system_text), rendered_user_prompt=recordable.text(user_text)
        )

    def note_answer(self, content: str) -> None:
        """Note what the model said, before it is known whether that will do."""
        self.note(response_content=recordable.text(content))

    def attach(self, files: Iterable[LLMFile]) -> None:
        """Keep the files that go along; their rows are written with the run's."""
        self._files = kept_files.keep(self.schema, files)

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
        call = self._call = _Call(self.rounds_count + 1, reservation)
        try:
            begun = self._begin(call, target, request)
        except Error as exc:  # it may have been written all the same: fail() undoes it then
            raise LogUnavailable(
                f"The log of schema {self.schema!r} cannot be written ({type(exc).__name__}), so nothing was sent. "
                "Check that PostgreSQL takes another connection, and that the tenant is migrated and committed."
            ) from exc
        self.invocation_id = begun.invocation_id
        self._columns = {}
        if not begun.is_granted:
            self._call = None
            raise _refusal(reservation, begun)
        self.rounds_count = call.number
        self._begin_files()
        call.is_sent = True

    def at_end(self, step: Callable[[], None]) -> None:
        """Have something more written at the end of the run; again in a moment where the database is away."""
        self._steps.append(step)

    def _begin_files(self) -> None:
        try:
            self._write_files()
        except Error:  # once more at the end of the run
            logger.exception("Could not write the files of run %s in %s", self.run_id, self.schema)

    def _write_files(self) -> None:
        if self._files:
            kept_files.write(self.schema, self.run_id, self._files, timezone.now())
            self._files = []

    def _begin(self, call: _Call, target: Target, request: ModelRequest) -> rounds.Begun:
        now = timezone.now()
        sums = {**self._sums(), "rounds_count": call.number}
        run = {**self._columns, **sums, "status": Status.RUNNING.value, "updated_at": now}
        is_first = self.invocation_id is None
        if is_first:
            run |= {"run_id": self.run_id, "created_at": now, "started_at": self._started_at}
        round_ = {
            "number": call.number,
            "provider_name": target.provider.name,
            "model": target.model,
            "status": Status.RUNNING.value,
            "request_messages": _json(composition.logged(request)),
            "created_at": now,
            "updated_at": now,
        }
        return rounds.begin(self.schema, self.run_id, run, round_, call.reservation, is_first=is_first)

    def settle_round(self, answer: ModelAnswer) -> None:
        """The provider has answered: what it said and what it cost."""
        self.usage += answer.usage
        self._account(
            answer.usage if answer.usage != LLMUsage() else None,
            answer.cost_usd,
            status=Status.SUCCESS.value,
            stop_reason=answer.stop_reason,
            request_params=_json(answer.request_params),
            response_content=recordable.text(answer.content),
            **_tokens(answer.usage),
        )
        self._settle()

    def fail_round(self, exc: BaseException, words: str) -> None:
        """The provider has not answered. ``words`` are its own, for staff to read."""
        self._account_failure(exc, words)
        self._settle()

    def _account_failure(self, exc: BaseException, words: str) -> None:
        assert self._call is not None
        is_free = not (self._call.is_sent and _may_be_billed(exc))
        self._account(
            LLMUsage() if is_free else None,
            Decimal(0) if is_free else None,
            status=status_of(exc),
            error_type=type(exc).__name__[:200],
            error_message=recordable.text(words, _MAX_ERROR_CHARS),
            request_params=_json(getattr(exc, "request_params", {})),
        )

    def _account(self, used: LLMUsage | None, cost_usd: Decimal | None, **columns: Any) -> None:
        """Say what the call has used; None where that is not known: then what it had reserved counts."""
        call = self._call
        assert call is not None
        self.cost_usd = None if cost_usd is None or self.cost_usd is None else self.cost_usd + cost_usd
        elapsed_s = time.monotonic() - call.started
        now = timezone.now()
        call.settlement = rounds.Settlement(
            key=self.run_id,
            number=call.number,
            round={**columns, "cost_usd": cost_usd, "latency_ms": round(elapsed_s * 1000), "updated_at": now},
            run={**self._sums(), "rounds_count": call.number, "updated_at": now},
            charged_usd=call.reservation.usd if cost_usd is None else cost_usd,
            is_unknown=cost_usd is None,
            reservation=call.reservation,
            given_back={} if used is None else call.reservation.moves(used, elapsed_s),
        )

    def _settle(self) -> None:
        try:
            self._write_settlement()
        except Error:
            # The call has been made and may have been paid for: its answer goes on to the caller. This is written
            # once more at the end of the run.
            logger.exception("Could not settle a round of run %s in %s", self.run_id, self.schema)

    def _write_settlement(self) -> None:
        call = self._call
        if call is None or call.settlement is None:
            return
        settled = rounds.settle(self.schema, call.settlement)
        self._call = None
        if settled.is_found:
            self.rounds_count = call.number
        for crossing in settled.crossings:
            alerts.send(self.schema, call.reservation, crossing)

    def succeed(self) -> None:
        self._end(Status.SUCCESS)

    def fail(self, exc: BaseException) -> None:
        """Put ``exc`` on the row, and the row's id on ``exc``."""
        if self._call is not None and self._call.settlement is None:
            self._account_failure(exc, recordable.shown(exc, _MAX_ERROR_CHARS))
        self.note(error_type=type(exc).__name__[:200], error_message=recordable.shown(exc, _MAX_ERROR_CHARS))
        self._end(status_of(exc))
        with suppress(AttributeError):  # an exception with slots cannot carry it
            exc.invocation_id = self.invocation_id  # type: ignore[attr-defined]

    def _end(self, status: str) -> None:
        self.latency_ms = round((time.monotonic() - self._started) * 1000)
        self.note(status=str(status), latency_ms=self.latency_ms, finished_at=timezone.now())
        steps = self._steps
        for wait_s in _WAITS_BEFORE_WRITING_AGAIN_S:
            steps = [step for step in steps if not self._is_over(step)]
            if not steps:
                return
            time.sleep(wait_s)
        for step in steps:
            self._is_over(step, is_last=True)

    def _is_over(self, step: Callable[[], None], *, is_last: bool = False) -> bool:
        """Write something at the end of the run; False where that failed and may work in a moment."""
        try:
            step()
        except (Error, ValueError, TypeError) as exc:
            if not is_last and _may_pass(exc):
                return False
            logger.exception("Could not write the end of run %s in %s", self.run_id, self.schema)
        return True

    def _sums(self) -> dict[str, Any]:
        return {"rounds_count": self.rounds_count, "cost_usd": self.cost_usd, **_tokens(self.usage)}

    def _write(self) -> None:
        """The row with everything that is known of the run, whether or not it is there already."""
        now = timezone.now()
        values = {**self._columns, **self._sums(), "updated_at": now}
        if self.invocation_id is None:
            values |= {"run_id": self.run_id, "created_at": now, "started_at": self._started_at}
        self.invocation_id = rounds.write_run(self.schema, self.run_id, values, is_new=self.invocation_id is None)


class _Call:
    """A round that has been begun and is not settled."""

    def __init__(self, number: int, reservation: Reservation) -> None:
        self.number = number
        self.reservation = reservation
        self.started = time.monotonic()
        self.is_sent = False
        self.settlement: rounds.Settlement | None = None
        """What to write now that the call is over; kept until it is written."""


@contextmanager
def record(schema: str, **columns: Any) -> Iterator[Entry]:
    """Record a run of ``schema``; ``columns`` are those of the invocation that are known at the start."""
    entry = Entry(
        schema,
        {name: recordable.text(value, 255) if isinstance(value, str) else value for name, value in columns.items()},
    )
    try:
        yield entry
    except BaseException as exc:
        entry.fail(exc)
        raise


def status_of(exc: BaseException) -> str:
    """The status of a run that ended with ``exc``."""
    if isinstance(exc, LLMTimeoutError):
        return Status.TIMEOUT.value
    if isinstance(exc, RateLimitExceeded):
        return Status.RATE_LIMITED.value
    if isinstance(exc, BudgetExceeded):
        return Status.BUDGET_EXCEEDED.value
    return Status.FAILED.value if isinstance(exc, Exception) else Status.CANCELLED.value


def _refusal(reservation: Reservation, begun: rounds.Begun) -> ZangoAIError:
    if begun.over is not None:
        account = reservation.provider if begun.over == "provider" else reservation.agent
        assert begun.spent_usd is not None
        assert begun.held_usd is not None
        return reservations.over_budget(account, reservation, begun.spent_usd, begun.held_usd)
    assert begun.wait_s is not None
    return reservations.too_fast(reservation, begun.busiest, begun.wait_s)


def _may_be_billed(exc: BaseException) -> bool:
    """Whether the provider may have worked on what it did not deliver: then the cost is not known, and not 0."""
    if isinstance(exc, LLMAPIError):
        return exc.status_code is not None and exc.status_code < 300
    return isinstance(exc, LLMTimeoutError) or not isinstance(exc, ZangoAIError)


def _may_pass(exc: Exception) -> bool:
    """Whether writing again may help: the database is away, or somebody holds a lock."""
    return isinstance(exc, (OperationalError, InterfaceError)) and not writer.is_in_test_transaction()


def _tokens(usage: LLMUsage) -> dict[str, int]:
    return {
        "input_tokens": usage.input_tokens,
        "output_tokens": usage.output_tokens,
        "cache_creation_tokens": usage.cache_creation_tokens,
        "cache_read_tokens": usage.cache_read_tokens,
    }


def _json(value: Any) -> writer.Json:
    return writer.Json(recordable.document(value))
