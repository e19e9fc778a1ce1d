"""The rounds of one run: reserve before each call to a provider, settle after it."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any

from django.db import Error

from .. import redaction, sanitize
from ..models import Invocation
from ..types import AgentSpec, Estimate, LLMUsage, ModelAnswer, ModelRequest, Target
from . import alerts, cancellation, clock, outcomes, reserve_and_settle, run_signals, transcript
from .database_errors import may_be_temporary
from .payloads import RequestPayloads
from .reservation_amounts import Reservation, reservation_for
from .reserve_and_settle import BudgetAlert, Decision, Settlement, SettlementResult
from .run_columns import MAX_ERROR_CHARS, RunColumns, RunTotals, token_columns

logger = logging.getLogger("zango_ai.ledger")

Status = Invocation.Status


@dataclass(slots=True)
class _OpenRound:
    """A round that is reserved and not settled yet."""

    number: int
    reservation: Reservation
    started: float = field(default_factory=time.monotonic)
    is_granted: bool = False
    """Whether the call was sent."""
    charged_at: datetime | None = None
    """When its limits per minute were charged, by the database's clock."""
    settlement: Settlement | None = None
    """What to write, once the call has ended."""
    ends_run: bool = False
    """Whether the run ends with this round."""


class RoundLog:
    """The rounds of one run and their totals."""

    def __init__(self, row: RunColumns, totals: RunTotals) -> None:
        self.totals = totals
        self._row = row
        self._open: list[_OpenRound] = []
        """The current round, and those whose settlement could not be written."""
        self._alerts: list[tuple[Reservation, BudgetAlert]] = []
        self._finished: list[Settlement] = []
        """Written settlements whose signal is not sent yet."""

    @property
    def has_running_call(self) -> bool:
        return bool(self._open) and self._open[-1].settlement is None

    def totals_to_write(self) -> dict[str, Any]:
        """The run's totals; empty while a round is open, because the totals must match the rounds' own rows."""
        return {} if self._open else self.totals.columns()

    def reserve(self, agent: AgentSpec | None, target: Target, request: ModelRequest, estimate: Estimate) -> None:
        """Reserve what the call may use, and write its row as ``running``.

        Raises BudgetExceeded, RateLimitExceeded, AgentDisabled, ProviderDisabled, RunCancelled; a database error if
        it may not have been written. Then nothing may be sent.
        """
        row = self._row
        row.set(provider_id=target.provider.id, provider_name=target.provider.name, model=target.model)
        reservation = reservation_for(row.schema, agent, target, estimate)
        self.write_settlements()  # of earlier rounds, if the database was away
        open_round = _OpenRound(self.totals.rounds_count + 1, reservation)
        self._open.append(open_round)
        decision = self._reserve(open_round, target, request)
        row.mark_written(decision.invocation_id)
        if not decision.is_granted:
            self._open.remove(open_round)
            if decision.is_cancelled:
                raise cancellation.error(row.run_id)
            raise outcomes.refusal(reservation, decision)
        self._count(open_round)
        open_round.charged_at, open_round.is_granted = decision.at, True
        if open_round.number == 1:
            run_signals.send_run_started(row)

    def _reserve(self, open_round: _OpenRound, target: Target, request: ModelRequest) -> Decision:
        row, now, texts = self._row, clock.now(), RequestPayloads(self._row.user_ref)
        is_newest_inline = row.is_new and not row.has_session and not request.tools
        messages = redaction.messages(transcript.messages_to_json(request.messages))
        round_ = {
            "number": open_round.number,
            "provider_name": target.provider.name,
            "model": target.model,
            "status": Status.RUNNING.value,
            "request_tools": texts.tools(transcript.tools_to_json(request.tools)),
            "request_messages": texts.messages(messages, is_newest_inline=is_newest_inline),
            "created_at": now,
            "updated_at": now,
        }
        run = row.to_write(now, **self.totals.columns(open_round.number), status=Status.RUNNING.value)
        return reserve_and_settle.reserve_round(
            row.schema, row.run_id, run, round_, open_round.reservation, texts, is_first=row.is_new
        )

    def _count(self, open_round: _OpenRound) -> None:
        count = max(self.totals.rounds_count, open_round.number)
        self.totals = RunTotals(count, self.totals.usage, self.totals.cost_usd)

    def settle(self, answer: ModelAnswer, status: Status = Status.SUCCESS, *, ends_run: bool = False) -> None:
        """The provider has answered. ``ends_run`` leaves the settlement to the statement that ends the run."""
        stop_reason = "tool_use" if answer.tool_calls else answer.stop_reason
        self._prepare(
            answer.usage,
            answer.cost_usd,
            status=status.value,
            stop_reason=stop_reason,
            **_answer_columns(answer),
        )
        if ends_run:
            self._open[-1].ends_run = True
        else:
            self._write_or_log()

    def fail(self, exc: BaseException, message: str, partial: ModelAnswer | None = None) -> None:
        """The provider has not answered, or only with ``partial``. ``message`` is its own, for staff."""
        self.prepare_failure(exc, message, partial)
        self._write_or_log()

    def prepare_failure(self, exc: BaseException, message: str, partial: ModelAnswer | None = None) -> None:
        """Settle the running call with an error, at the next write."""
        is_free = not (self._open[-1].is_granted and outcomes.may_be_billed(exc))
        usage, cost_usd = LLMUsage(), Decimal(0) if is_free else None
        columns = {"request_params": sanitize.document(getattr(exc, "request_params", {}))}
        if partial is not None:
            usage, cost_usd, columns = partial.usage, partial.cost_usd, _answer_columns(partial)
        self._prepare(
            usage,
            cost_usd,
            status=outcomes.status_of(exc).value,
            error_type=type(exc).__name__[:200],
            error_message=redaction.text(message, MAX_ERROR_CHARS),
            **columns,
        )

    def prepare_cancellation(self, *, is_sent: bool) -> None:
        """Settle the running call as cancelled, at the next write. Its cost is unknown if it was sent."""
        cost_usd = None if self._open[-1].is_granted and is_sent else Decimal(0)
        self._prepare(LLMUsage(), cost_usd, status=Status.CANCELLED.value)

    def _prepare(self, usage: LLMUsage, cost_usd: Decimal | None, **columns: Any) -> None:
        """Compute the settlement of the running call. If its cost is unknown, the reserved amount is charged."""
        open_round, now = self._open[-1], clock.now()
        totals = self.totals.plus(usage, cost_usd)
        is_usage_known = usage != LLMUsage() or cost_usd is not None
        settlement = Settlement(
            key=self._row.run_id,
            number=open_round.number,
            round={
                **columns,
                **token_columns(usage),
                "cost_usd": cost_usd,
                "latency_ms": round((time.monotonic() - open_round.started) * 1000),
                "updated_at": now,
            },
            run={**totals.columns(open_round.number), "updated_at": now},
            charged_usd=open_round.reservation.usd if cost_usd is None else cost_usd,
            is_cost_unknown=cost_usd is None,
            reservation=open_round.reservation,
            adjustments=open_round.reservation.adjustments(usage) if is_usage_known else {},
            charged_at=open_round.charged_at,
        )
        # In one assignment: an interrupt before it leaves a call that still has to be settled.
        self.totals, open_round.settlement = totals, settlement

    def _write_or_log(self) -> None:
        try:
            self.write_settlements()
        except Error:
            # The provider has answered and may bill it, so the answer goes to the caller. The settlement is written
            # before the next call, or at the end of the run.
            logger.exception("Could not settle a round of run %s in %s", self._row.run_id, self._row.schema)

    def write_settlements(self) -> None:
        """Write the settlements that are not written yet, and send the signals of what they have changed."""
        for open_round in list(self._open):
            if open_round.settlement is None:
                continue
            result = self._write(open_round, open_round.settlement)
            self._alerts.extend((open_round.reservation, alert) for alert in result.alerts)
            self._open.remove(open_round)
            self._finished.append(open_round.settlement)
            self._row.is_cancelled = self._row.is_cancelled or result.is_cancelled
            if result.is_found:
                self._count(open_round)
        while self._finished:
            settlement = self._finished.pop(0)
            run_signals.send_round_finished(self._row, settlement.number, settlement.round)
        while self._alerts:
            alerts.send(self._row.schema, *self._alerts.pop(0))

    def _write(self, open_round: _OpenRound, settlement: Settlement) -> SettlementResult:
        """Write the settlement together with the end of the run if possible, else alone."""
        row = self._row
        if open_round.ends_run and row.is_complete:
            result = _settle_with(row.schema, settlement, row.pending)
            if result is not None:
                if result.is_found:
                    row.mark_written()
                return result
        return reserve_and_settle.settle_round(row.schema, settlement)


def _answer_columns(answer: ModelAnswer) -> dict[str, Any]:
    return {
        "time_to_first_token_ms": answer.time_to_first_token_ms,
        "is_usage_estimated": answer.is_usage_estimated,
        "request_params": sanitize.document(answer.request_params),
        "response_content": redaction.text(answer.content),
        "response_tool_calls": sanitize.document(redaction.calls(transcript.calls_to_json(answer.tool_calls))),
    }


def _settle_with(schema: str, settlement: Settlement, end: Mapping[str, Any]) -> SettlementResult | None:
    """None if the columns that end the run cannot be written."""
    try:
        return reserve_and_settle.settle_round(schema, settlement, end)
    except Error as exc:
        if may_be_temporary(exc):
            raise
        return None
