"""Continue a stored run: one that a worker takes from the queue, or one whose tool calls have been decided."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

from .. import tenancy
from ..conf import get_conf
from ..configuration import agents
from ..exceptions import (
    AgentNotFound,
    DecisionNotAllowed,
    NotAwaitingApproval,
    RunCancelled,
    RunStateUnreadable,
    ZangoAIError,
)
from ..ledger import stored_runs
from ..ledger.recorder import RunRecorder
from ..ledger.recording import resume_run
from ..ledger.run_state import RunState
from ..memory import sessions
from ..output.output_type import OutputType
from ..types import AgentSpec
from . import approval, background, queued_replay, retry_policy, saved_state
from .answers import OutputOverride
from .preparation import PreparedRun, read_agent
from .request_builder import ComposedRequest
from .run import OpenRun, execute, open_run
from .tool_use import Toolbox

logger = logging.getLogger("zango_ai.agent")

_DECIDED_MEANWHILE = "it was decided at the same time"
_WAIT_FOR_NEW_RELEASE_S = 60.0
"""During a deployment: how long until the run is offered to a worker of the new release."""


def execute_queued(
    run_id: str, *, celery_task_id: str, can_wait: bool = True, max_wait_s: float = retry_policy.MAX_RETRY_AFTER_S
) -> float:
    """Execute a queued run of the current tenant, unless it was taken already.

    Returns in how many seconds to try again, or 0. With ``can_wait=False`` the run is executed before its time. If
    a retry would have to wait for longer than ``max_wait_s``, the run fails. Raises RunNotFound, and the error of a
    run that is not retried.
    """
    schema = tenancy.current_schema()
    row = background.row_of(run_id, schema)
    if row.status != stored_runs.Status.QUEUED:
        return 0.0  # the message was delivered twice, or the run has been given up
    try:
        state = row.state()
    except RunStateUnreadable:
        if not can_wait or max_wait_s < _WAIT_FOR_NEW_RELEASE_S:
            raise
        logger.exception("Run %s of %s was queued by a newer release; trying again later", run_id, schema)
        return _WAIT_FOR_NEW_RELEASE_S
    wait_s = retry_policy.seconds_until(state.not_before)
    if wait_s and can_wait:
        return wait_s  # the message of an earlier attempt was delivered again
    if not stored_runs.claim(schema, row, celery_task_id=celery_task_id):
        return 0.0
    retries = retry_policy.RetryPolicy(state.attempt, get_conf().background_retries, max_wait_s)
    try:
        with resume_run(schema, row, state) as recorder:
            execute(_restore_queued(recorder, row, state), retries)
    except RunCancelled:
        return 0.0
    except ZangoAIError as exc:
        if not retries.allow(exc):
            raise
        return retries.wait_s(exc)
    return 0.0


def _restore_queued(recorder: RunRecorder, row: stored_runs.RunRow, state: RunState) -> OpenRun:
    if row.replay_of_id is not None:
        return queued_replay.restore(recorder, row, state)
    return restore(recorder, agents.find_agent_name(row.agent_id) or row.agent_name, row, state)


@dataclass(frozen=True, slots=True)
class WaitingRun:
    """A run that waits for approvals, and the decisions that the caller has passed."""

    run_id: UUID | str
    approvals: Mapping[Any, approval.Approval]
    decided_by: str
    output_type: Any = None

    def resume(self, schema: str, agent_name: str, stack: ExitStack) -> OpenRun:
        """Claim the run and restore it. ``stack`` closes its recording.

        Raises NotAwaitingApproval, DecisionNotAllowed, RunStateUnreadable, WrongTenant; TypeError or ValueError for
        wrong decisions.
        """
        row, state = self._decided(schema, agent_name)
        output_type = None if self.output_type is None else OutputType(self.output_type)
        if not stored_runs.claim(schema, row):
            raise _not_awaiting(self.run_id, _DECIDED_MEANWHILE)
        recorder = stack.enter_context(resume_run(schema, row, state))
        return restore(recorder, agent_name, row, state, output_type=output_type)

    def enqueue(self, schema: str, agent_name: str) -> background.EnqueuedRun:
        """Store the decisions, and leave the run to a worker. Raises QueueUnavailable too."""
        row, state = self._decided(schema, agent_name)
        if not stored_runs.queue_decided(schema, row, state):
            raise _not_awaiting(self.run_id, _DECIDED_MEANWHILE)
        return background.send_decided(row.run_id, schema)

    def _decided(self, schema: str, agent_name: str) -> tuple[stored_runs.RunRow, RunState]:
        """The run, and its state with the decisions, which are checked. Nothing is written."""
        background.require_run_id(self.run_id)
        approval.require_mapping(self.approvals)
        agents.require_same_tenant(agent_name, schema)
        row, needs_another_person = _find_awaiting(schema, agent_name, self.run_id)
        if needs_another_person:
            _require_another_person(row, self.decided_by)
        decisions = approval.read(row, self.approvals, self.decided_by)
        return row, replace(row.state(), decisions=decisions)


def _find_awaiting(schema: str, agent_name: str, run_id: UUID | str) -> tuple[stored_runs.RunRow, bool]:
    """The agent's run of that id, and whether the one who asked may not decide. Raises NotAwaitingApproval."""
    key = background.uuid_of(run_id)
    row = None if key is None else stored_runs.find(schema, key)
    agent_id, needs_another_person = agents.find_approver_rule(agent_name) or (None, False)
    if row is None or row.agent_id is None or row.agent_id != agent_id:
        raise _not_awaiting(run_id, f"agent {agent_name!r} of schema {schema!r} has no run of that id")
    if row.status != stored_runs.Status.AWAITING_APPROVAL:
        raise _not_awaiting(run_id, f"its status is {row.status}")
    return row, needs_another_person


def _require_another_person(row: stored_runs.RunRow, decided_by: str) -> None:
    if not decided_by:
        reason = "Pass decided_by: its tool calls need the approval of another person than the one who asked."
    elif str(decided_by) == row.user_ref:
        reason = "Somebody else has to decide: its tool calls need the approval of another person."
    else:
        return
    raise DecisionNotAllowed(row.run_id, f"{decided_by or 'Nobody'} cannot decide run {row.run_id}. {reason}")


def _not_awaiting(run_id: object, reason: str) -> NotAwaitingApproval:
    return NotAwaitingApproval(run_id, f"Run {run_id} does not wait for an approval: {reason}.")


def restore(
    recorder: RunRecorder,
    agent_name: str,
    row: stored_runs.RunRow,
    state: RunState,
    *,
    output_type: OutputType | None = None,
) -> OpenRun:
    """The run as it stopped, with the agent's current configuration."""
    agent, output = _read_agent(recorder, agent_name, row, state, output_type)
    toolbox = Toolbox(agent, recorder, trigger=row.triggered_by)
    recorder.note(output_schema=agent.output_schema)
    request = saved_state.restore_request(agent, toolbox, row, state)
    turn_start, turn_end = state.turn_range
    prepared = PreparedRun(
        recorder=recorder,
        agent=agent,
        overrides=state.overrides,
        output=output,
        toolbox=toolbox,
        composed=ComposedRequest(request, request.messages[turn_start:turn_end], turn_start),
        start=saved_state.restore_loop(state, request),
        opens_session=state.session_to_open is not None and agent.has_memory,
        session_id=None if state.session_to_open is None else state.session_to_open.session_id,
        user_ref="" if state.session_to_open is None else state.session_to_open.user_ref,
        stores_chunks=state.stores_chunks,
    )
    return open_run(prepared, None if state.session is None else sessions.Session.restored(state.session))


def _read_agent(
    recorder: RunRecorder,
    agent_name: str,
    row: stored_runs.RunRow,
    state: RunState,
    output_type: OutputType | None,
) -> tuple[AgentSpec, OutputOverride]:
    configured = read_agent(recorder, agent_name, state.overrides)
    if row.agent_id not in {None, configured.id}:
        raise AgentNotFound(
            agent_name,
            f"The agent of run {row.run_id} has been deleted. {agent_name!r} is another agent.",
        )
    schema = state.output_json_schema
    if schema is None and output_type is not None:
        schema = output_type.schema
    output = OutputOverride(schema, output_type)
    return output.apply(configured), output
