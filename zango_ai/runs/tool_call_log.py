"""Write the rows of a run's tool calls: before and after each call."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from datetime import datetime

from django.db import Error

from .. import redaction
from ..database import writer
from ..ledger import cancellation, outcomes, tool_calls
from ..ledger.recorder import RunRecorder
from .tool_call_outcomes import ToolCallOutcome
from .tool_call_plan import ToolCallPlan

logger = logging.getLogger("zango_ai.tools")


class ToolCallLog:
    """The rows of one run's tool calls, always of its current round."""

    def __init__(self, recorder: RunRecorder) -> None:
        self._recorder = recorder

    def begin(self, plan: ToolCallPlan, per_minute: int | None) -> tool_calls.ToolCallStart:
        """Log the call as running, if the tool's rate limit allows it. Raises LogUnavailable, RunCancelled."""
        run = self._recorder
        try:
            start = tool_calls.start(run.schema, run.run_id, run.rounds_count, plan.columns, per_minute)
        except Error as exc:
            raise outcomes.log_unavailable(f"The call of tool {plan.request.name!r} cannot be logged", exc) from exc
        return self._unless_cancelled(start)

    def request_approval(self, plan: ToolCallPlan, expires_at: datetime, description: str) -> None:
        """Log that the call waits for a person. Raises LogUnavailable, RunCancelled."""
        run = self._recorder
        columns = {**plan.columns, "expires_at": expires_at, "description": redaction.text(description)}
        try:
            request = tool_calls.request_approval(run.schema, run.run_id, run.rounds_count, columns)
        except Error as exc:
            message = f"The approval request for tool {plan.request.name!r} cannot be logged"
            raise outcomes.log_unavailable(message, exc) from exc
        self._unless_cancelled(request)

    def _unless_cancelled(self, start: tool_calls.ToolCallStart) -> tool_calls.ToolCallStart:
        if start.is_cancelled:
            raise cancellation.error(self._recorder.run_id)
        return start

    def end(self, plan: ToolCallPlan, outcome: ToolCallOutcome) -> None:
        run, round_number = self._recorder, self._recorder.rounds_count
        columns = {**plan.columns, **outcome.columns}

        def write() -> None:
            if tool_calls.write(run.schema, run.run_id, round_number, columns):
                run.note_tool_called(round_number, columns)

        self._write(write)

    def end_many(self, plans: Sequence[ToolCallPlan], outcome: ToolCallOutcome) -> None:
        """Log one outcome for all these calls, in one statement."""
        run, round_number = self._recorder, self._recorder.rounds_count
        rows = [plan.columns for plan in plans]

        def write() -> None:
            tool_calls.write_many(run.schema, run.run_id, round_number, rows, outcome.columns)
            for row in rows:
                run.note_tool_called(round_number, {**row, **outcome.columns})

        self._write(write)

    def _write(self, write: Callable[[], object]) -> None:
        """Write now; if the database fails, at the end of the run. The tool has run, so the run continues."""
        run = self._recorder
        try:
            write()
        except Error:
            logger.exception("Could not log a tool call of run %s in %s", run.run_id, run.schema)
            run.write_later(write)

    def heartbeat(self) -> Callable[[], None] | None:
        """A function that marks the run as alive while a tool runs; None within a test's transaction.

        There the ledger shares the test's connection, which the tool is using.
        """
        schema, run_id = self._recorder.schema, self._recorder.run_id

        def touch() -> None:
            try:
                tool_calls.touch(schema, run_id)
            except Error:
                logger.exception("Could not mark run %s in %s as alive", run_id, schema)

        return None if writer.is_in_test_transaction() else touch
