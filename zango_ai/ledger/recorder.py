"""``RunRecorder``: what is known of one run, and when it is written.

Each part has one job: ``run_notes`` what becomes known, ``run_columns`` the run's row, ``round_log`` its rounds,
``stored_files`` its files, and ``final_writes`` what is written at the end.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.db import Error

from .. import sanitize
from ..exceptions import LogUnavailable, RunCancelled
from ..files.file import LLMFile
from ..models import Invocation
from ..telemetry import RunTrace
from ..types import Estimate, LLMUsage, ModelAnswer, ModelRequest, PendingApproval, Target
from . import cancellation, clock, outcomes, run_signals, time_zones, tool_calls
from .final_writes import FinalWrites, Write
from .round_log import RoundLog
from .run_columns import MAX_ERROR_CHARS, RunColumns, RunTotals
from .run_notes import RunNotes
from .run_state import RunState
from .stored_files import RunFiles

Status = Invocation.Status


class RunRecorder(RunNotes):
    """Records one run. ``recording.record_run()`` and ``resume_run()`` return it."""

    def __init__(
        self,
        row: RunColumns,
        totals: RunTotals,
        trace: RunTrace,
        *,
        worked_ms: int = 0,
        is_resumed: bool = False,
    ) -> None:
        super().__init__(row, trace, has_paused=is_resumed)
        self.latency_ms = 0
        """Wall clock of the whole run, once it has ended or paused. Waiting for a person does not count."""
        self._rounds = RoundLog(row, totals)
        self._files = RunFiles(row.schema, row.run_id)
        self._final = FinalWrites(row, [self._rounds.write_settlements, self._write_row, self._files.write])
        self._worked_ms, self._started = worked_ms, time.monotonic()
        self._has_ended = False
        self._status = ""
        """How the run has ended or paused."""
        self._retry_state: Callable[[BaseException], RunState | None] = lambda exc: None

    @property
    def schema(self) -> str:
        return self._row.schema

    @property
    def run_id(self) -> UUID:
        return self._row.run_id

    @property
    def user_ref(self) -> str:
        return self._row.user_ref

    @property
    def agent_name(self) -> str:
        return str(self._row.known.get("agent_name", ""))

    @property
    def invocation_id(self) -> int | None:
        """None until the row is written."""
        return self._row.invocation_id

    @property
    def usage(self) -> LLMUsage:
        return self._rounds.totals.usage

    @property
    def cost_usd(self) -> Decimal | None:
        """None once the cost of one round is unknown."""
        return self._rounds.totals.cost_usd

    @property
    def rounds_count(self) -> int:
        return self._rounds.totals.rounds_count

    def elapsed_ms(self) -> int:
        """Wall clock of the run so far. Waiting for a person does not count."""
        return self._worked_ms + round((time.monotonic() - self._started) * 1000)

    # What is written before and after each call to the provider.

    def start(self) -> None:
        """Write the run's row as ``running`` before the first round is. Raises LogUnavailable."""
        self.note(status=Status.RUNNING.value)
        try:
            self._write_row()
        except Error as exc:
            raise self._unavailable(exc) from exc

    def attach_file(self, file: LLMFile) -> None:
        """Write the row of a file of the request, and store its content. Call ``start()`` before."""
        self._files.attach(file)

    def reserve_round(self, target: Target, request: ModelRequest, estimate: Estimate) -> None:
        """Reserve budget and rate limits for a call, and write its round and the run's row as ``running``.

        Raises BudgetExceeded, RateLimitExceeded, AgentDisabled, ProviderDisabled, RunCancelled, LogUnavailable.
        Then nothing may be sent.
        """
        try:
            self._rounds.reserve(self._agent, target, request, estimate)
        except Error as exc:  # if it was written nevertheless, fail() settles it
            raise self._unavailable(exc) from exc
        self._files.write_or_log()

    def settle_round(self, answer: ModelAnswer, *, is_last: bool) -> None:
        """Write the provider's answer and its cost.

        ``is_last`` leaves that to ``succeed()``, which writes it in one statement with the end of the run.
        """
        self._rounds.settle(answer, ends_run=is_last)

    def fail_round(self, exc: BaseException, message: str, partial: ModelAnswer | None = None) -> None:
        """Write that the provider has not answered. ``message`` is the provider's own, for staff.

        ``partial`` is what a stream had produced when it failed, and what the call is billed for.
        """
        self._rounds.fail(exc, message, partial)

    # How the run ends or pauses.

    def before_end(self, write: Write) -> None:
        """Write something before the row says that the run has ended, unless it was cancelled.

        So whoever waits for the run finds it. It is repeated while the database is away.
        """
        self._final.add_before_end(lambda: self._row.is_cancelled or write())

    def write_first(self, write: Write) -> None:
        """Write something before the row says that the run has ended, paused or been queued again."""
        self._final.add_first(write)

    def write_later(self, write: Write) -> None:
        """Repeat a failed write when the run ends or pauses."""
        self._final.add(write)

    def retry_with(self, state: Callable[[BaseException], RunState | None]) -> None:
        """Queue the run again when it fails, with the state that ``state(exc)`` returns; None lets it fail."""
        self._retry_state = state

    def succeed(self) -> None:
        """Raises RunCancelled if somebody has cancelled the run. It has ended as cancelled then."""
        # If maintenance has abandoned the run too early, the row has an error until now.
        self.note(error_type="", error_message="")
        self._end(Status.SUCCESS)
        if self._row.is_cancelled:
            raise cancellation.error(self.run_id)

    def queue(self, state: RunState) -> None:
        """Leave the run to a worker. Raises LogUnavailable."""
        self.note_resume_state(state)
        self.note(started_at=None)
        self._pause(Status.QUEUED)

    def pause(self) -> None:
        """Leave the run to ``Agent.resume()``, after a person's approval. Raises LogUnavailable, RunCancelled."""
        self._pause(Status.AWAITING_APPROVAL)
        if self._row.is_cancelled:
            raise cancellation.error(self.run_id)

    def cancel(self, partial: ModelAnswer | None = None, *, is_sent: bool = True) -> None:
        """End the run as ``cancelled``: its caller has stopped it or closed its stream.

        ``partial`` is what the current call has produced so far, and what it is billed for. Without it, the cost of
        a call that was sent is unknown, and its reserved amount is charged. One that was not sent costs nothing.
        """
        if self._has_ended:
            return
        self._row.is_cancelled = True
        if self._rounds.has_running_call and partial is not None:
            self._rounds.settle(partial, Status.CANCELLED, ends_run=True)
        elif self._rounds.has_running_call:
            self._rounds.prepare_cancellation(is_sent=is_sent)
        if partial is not None:
            self.note_last_answer(partial)
        self.note(error_type="", error_message="")
        self._end(Status.CANCELLED)

    def fail(self, exc: BaseException) -> None:
        """End the run with ``exc``, or queue it again; cancel it for a RunCancelled. Sets ``exc.invocation_id``."""
        if isinstance(exc, RunCancelled):
            self.cancel()
        elif not self._has_ended:
            if self._rounds.has_running_call:
                self._rounds.prepare_failure(exc, sanitize.shown(exc, MAX_ERROR_CHARS))
            self._row.set_error(exc)
            state = self._retry_state(exc)
            if state is None:
                self._end(outcomes.status_of(exc))
            else:
                self._queue_again(state)
        with suppress(AttributeError):  # an exception with __slots__ has no room for it
            exc.invocation_id = self.invocation_id  # type: ignore[attr-defined]

    def send_approval_requested(self, pending: Sequence[PendingApproval]) -> None:
        """Send the signal of a run that has paused."""
        run_signals.send_approval_requested(self._row, pending)

    def _queue_again(self, state: RunState) -> None:
        self.note_resume_state(state)
        self._note_status(Status.QUEUED)
        self._final.run(is_end=False)
        if self._row.is_cancelled:
            self.cancel()

    def _pause(self, status: Status) -> None:
        self._note_status(status)
        try:
            self._final.run_once()
        except Error as exc:
            raise self._unavailable(exc) from exc

    def _end(self, status: Status) -> None:
        now = clock.now()
        self.note(finished_at=now, finished_on=time_zones.date_of(now, self.schema))
        if self._has_paused:
            self.note(resume_state="")
            self._final.add(lambda: tool_calls.deny_undecided(self.schema, self.run_id), only_at_end=True)
        self._note_status(status)
        self._final.run(is_end=True)
        if status == Status.SUCCESS and self._row.is_cancelled:
            status = Status.CANCELLED
        self._has_ended, self._status = True, status.value
        run_signals.send_run_finished(self._row, status, self._rounds.totals, self.latency_ms)

    def _note_status(self, status: Status) -> None:
        self._row.is_complete = True
        self.latency_ms = self.elapsed_ms()
        self.note(status=status.value, latency_ms=self.latency_ms)
        self._status = status.value

    def note_tool_called(self, round_number: int, columns: Mapping[str, Any]) -> None:
        """A tool call has ended, and its row with these columns is written."""
        run_signals.send_tool_called(self._row, round_number, columns)

    def end_trace(self, error: BaseException | None) -> None:
        """The run has ended or paused in this process."""
        self.trace.end(
            status=self._status,
            invocation_id=self.invocation_id,
            usage=self.usage,
            cost_usd=self.cost_usd,
            error=error,
        )

    def _write_row(self) -> None:
        self._row.write(self._rounds.totals_to_write())

    def _unavailable(self, exc: Error) -> LogUnavailable:
        return outcomes.log_unavailable(f"The log of schema {self.schema!r} cannot be written", exc)
