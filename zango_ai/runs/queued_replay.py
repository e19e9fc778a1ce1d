"""Replays that workers execute. Each is queued with its overrides only: the worker reads the recorded run."""

from __future__ import annotations

from dataclasses import replace
from uuid import UUID

from .. import tenancy
from ..configuration.overrides import Overrides
from ..ledger import stored_runs
from ..ledger.recorder import RunRecorder
from ..ledger.recording import record_run
from ..ledger.run_state import RunState
from ..models import Invocation
from ..types import Trigger
from . import background, recorded_run, saved_state
from .preparation import PreparedRun
from .replay import prepare
from .request_builder import ComposedRequest
from .run import OpenRun, open_run


def enqueue(
    run: Invocation,
    overrides: Overrides,
    *,
    replayed_by: str = "",
    triggered_by: Trigger = "user",
    batch_id: UUID | None = None,
) -> int:
    """Queue a replay of a run of the current tenant, and return the primary key of the replay.

    The task is sent when the caller's transaction commits. Whether the run can be replayed turns out in the worker:
    the replay's row shows the error. Raises LogUnavailable; QueueUnavailable if there is no transaction and the
    queue does not accept the task.
    """
    schema = tenancy.current_schema()
    recording = record_run(
        schema,
        agent_name=run.agent_name,
        is_queued=True,
        triggered_by=triggered_by,
        replay_of_id=run.pk,
        replayed_by=replayed_by,
        replay_batch=batch_id,
    )
    with recording as recorder:
        recorder.note_caller(run.user_ref, None, None)  # to whom the texts of the replay will belong
        recorder.note(agent_id=run.agent_id, session_id=run.session_id)
        recorder.queue(_unprepared(overrides, recorder))
    background.send(recorder.run_id, schema)
    assert recorder.invocation_id is not None
    return recorder.invocation_id


def _unprepared(overrides: Overrides, recorder: RunRecorder) -> RunState:
    """The state of a replay that has not started: without messages."""
    return RunState(
        messages=(),
        turn_range=(0, 0),
        tool_rounds_left=0,
        output_retries_left=0,
        overrides=overrides,
        trace=recorder.trace.parent_to_store(),
    )


def restore(recorder: RunRecorder, row: stored_runs.RunRow, state: RunState) -> OpenRun:
    """A queued replay, from its beginning or from the step at which its last attempt has failed.

    Raises RunNotFound, RunNotReplayable, LLMFileError, and the errors of ``prepare()``.
    """
    assert row.replay_of_id is not None
    recorded = recorded_run.read(row.replay_of_id)
    prepared = prepare(recorder, recorded, state.overrides)
    return open_run(_continued(prepared, row, state) if state.messages else prepared)


def _continued(prepared: PreparedRun, row: stored_runs.RunRow, state: RunState) -> PreparedRun:
    request = saved_state.restore_request(prepared.agent, prepared.toolbox, row, state)
    return replace(
        prepared,
        composed=ComposedRequest(request, turn=(), turn_start=len(request.messages)),
        start=saved_state.restore_loop(state, request),
    )
