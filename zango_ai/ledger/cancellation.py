"""Cancel a run from any process.

A run that is not being executed ends at once. A running one is marked, and its process notices at its next
statement: before a call to the provider or a tool, while it stores chunks, or when it would end. It is too late
once the run's turn was added to its conversation.
"""

from __future__ import annotations

from uuid import UUID

from ..database import notifications, writer
from ..database.sql import in_list, table
from ..exceptions import RunCancelled
from ..models import Invocation
from . import run_signals, time_zones, tool_calls
from .sql.usage import count_usage, lock_run, usage_columns

Status = Invocation.Status

_CANCELLABLE = (Status.QUEUED, Status.RUNNING, Status.AWAITING_APPROVAL)


def cancel(schema: str, run_id: UUID) -> bool:
    """Whether the run ends, or will end, as ``cancelled``. False if it has ended already, or does not exist."""
    topic = notifications.topic(schema, run_id)
    arguments = {"key": run_id, "topic": topic, **time_zones.now_and_today(schema)}
    for invocation_id, agent_name, status, _ in writer.execute(_cancel(schema), arguments):
        if status == Status.CANCELLED:
            tool_calls.deny_undecided(schema, run_id)
            run_signals.send_ended(schema, run_id, invocation_id, agent_name, Status.CANCELLED)
        return True
    return False


def is_requested(schema: str, run_id: UUID) -> bool:
    """Whether somebody has cancelled the run, which may still be running."""
    sql = f"SELECT cancel_requested_at IS NOT NULL FROM {table(schema, Invocation)} WHERE run_id = %(key)s"
    return any(is_cancelled for (is_cancelled,) in writer.query(sql, {"key": run_id}))


def error(run_id: UUID) -> RunCancelled:
    return RunCancelled(run_id, f"Run {run_id} was cancelled.")


def _cancel(schema: str) -> str:
    """A running run keeps its ``updated_at``, by which maintenance sees whether its process is alive."""
    ended = {
        "status": f"'{Status.CANCELLED}'",
        "error_type": "''",
        "error_message": "''",
        "resume_state": "''",
        "finished_at": "%(now)s",
        "finished_on": "%(today)s",
        "updated_at": "%(now)s",
    }
    is_running = f"i.status = '{Status.RUNNING}'"
    columns = ", ".join(
        f"{name} = CASE WHEN {is_running} THEN i.{name} ELSE {end} END" for name, end in ended.items()
    )
    return f"""
WITH this_run AS ({lock_run(schema)}),
run AS (
    UPDATE {table(schema, Invocation)} i
    SET cancel_requested_at = coalesce(i.cancel_requested_at, %(now)s), {columns}
    FROM this_run WHERE i.id = this_run.id AND (
        (i.status IN {in_list(_CANCELLABLE)} AND NOT ({is_running} AND i.finished_at IS NOT NULL))
        OR (i.status = '{Status.CANCELLED}' AND i.cancel_requested_at = %(now)s)
    )
    RETURNING {usage_columns("i")}
),{count_usage(schema, before="this_run", after="run")}
SELECT id, agent_name, status, pg_notify('{notifications.CHANNEL}', %(topic)s)::text FROM run
"""
