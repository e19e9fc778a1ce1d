"""Record one run in the log, from its start or its resumption until it ends or pauses.

::

    with record_run(schema, agent_name=..., ...) as recorder:   # nothing is written yet
        recorder.note_agent(agent), recorder.note_prompts(...)  # what is known before the first call
        recorder.reserve_round(...)                             # reserves budget; writes both rows as "running"
        recorder.settle_round(...)                              # after each call to the provider
        recorder.succeed()                                      # settles the last round and ends the run

An exception inside the block ends the run: it is written to the row, gets an ``invocation_id``, and is raised
again.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from .. import sanitize, telemetry
from .recorder import RunRecorder
from .run_columns import RunColumns, RunTotals
from .run_state import RunState
from .stored_runs import RunRow


@contextmanager
def record_run(schema: str, *, agent_name: str, is_queued: bool = False, **columns: Any) -> Iterator[RunRecorder]:
    """Record a new run. ``columns`` are the columns of its row that are known at its start.

    ``is_queued``: another process will execute it.
    """
    columns["agent_name"] = agent_name
    stored = {
        name: sanitize.text(value, 255) if isinstance(value, str) else value for name, value in columns.items()
    }
    row = RunColumns(schema, uuid.uuid4(), stored)
    if is_queued:
        trace = telemetry.queue_run()
    else:
        trigger = str(columns.get("triggered_by", ""))
        trace = telemetry.begin_run(schema, agent_name=agent_name, run_id=row.run_id, trigger=trigger)
    with _recorded(RunRecorder(row, RunTotals(), trace)) as recorder:
        yield recorder


@contextmanager
def resume_run(schema: str, run: RunRow, state: RunState) -> Iterator[RunRecorder]:
    """Record what a run does after it was queued or paused, and then claimed."""
    known = {"agent_name": run.agent_name, "triggered_by": run.triggered_by, "model": run.model}
    row = RunColumns(schema, run.run_id, user_ref=run.user_ref, invocation_id=run.invocation_id, known=known)
    trace = telemetry.begin_run(
        schema, agent_name=run.agent_name, run_id=run.run_id, trigger=run.triggered_by, parent=state.trace
    )
    totals = RunTotals(run.rounds_count, run.usage, run.cost_usd)
    recorder = RunRecorder(row, totals, trace, worked_ms=run.latency_ms, is_resumed=True)
    with _recorded(recorder):
        yield recorder


@contextmanager
def _recorded(recorder: RunRecorder) -> Iterator[RunRecorder]:
    error: BaseException | None = None
    try:
        yield recorder
    except (GeneratorExit, asyncio.CancelledError) as exc:  # the caller has closed, dropped or cancelled the run
        error = exc
        recorder.cancel()
        recorder.fail(exc)
        raise
    except BaseException as exc:
        error = exc
        recorder.fail(exc)
        raise
    finally:
        recorder.end_trace(error)
        error = None  # its traceback has this frame
