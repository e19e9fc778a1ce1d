"""Maintenance: end the runs whose process or task is lost, and give back what they have reserved."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal

from django.db import Error

from .. import limits
from ..database import writer
from ..database.sql import in_list, table
from ..models import AgentConfig, Invocation, InvocationRound, Spend, ToolCall
from . import clock, run_signals, time_zones
from .run_columns import TOKEN_COLUMNS
from .sql.reserve_round import AFTER_MONTHS
from .sql.tool_usage import ENDED_COLUMNS, count_calls
from .sql.usage import END_COLUMNS, count_usage, end_runs, usage_columns

logger = logging.getLogger("zango_ai.maintenance")

Status = Invocation.Status
CallStatus = ToolCall.Status

_DEFAULT_TIMEOUT_S = 30
_UNSENT_AFTER, _LOST_AFTER = timedelta(hours=1), timedelta(days=7)
_UNSENT_MESSAGE = "The transaction that queued it was not committed, so no task was sent."
_LOST_MESSAGE = "No worker has started it within a week."
_ABANDONED_MESSAGE = (
    "Its process has not updated the run for longer than one call may take. The cost of its last call is unknown."
)


@dataclass(frozen=True, slots=True)
class Abandoned:
    runs: int
    given_back_usd: Decimal


def abandon_orphans(schema: str) -> Abandoned:
    """End the runs that were not updated for twice their agent's timeout and a minute.

    Each step of a run updates its row, and no step takes longer than the timeout. If a run was abandoned too
    early and continues (its machine was suspended), its next step corrects the rows. Raises the last error after
    it has tried all runs.
    """
    times = time_zones.now_and_today(schema)
    runs, given_back = 0, Decimal(0)
    error: Error | None = None
    for (invocation_id,) in writer.query(_find_orphans(schema), times):
        arguments = {"id": invocation_id, **times, "message": _ABANDONED_MESSAGE}
        try:
            ((count, usd, run_id, agent_name, status),) = writer.execute(_abandon(schema), arguments)
        except Error as exc:
            logger.exception("Could not end invocation %s of schema %s", invocation_id, schema)
            error = exc
            continue
        runs += count
        given_back += usd
        if count and status == Status.ABANDONED:
            run_signals.send_ended(schema, run_id, invocation_id, agent_name, Status.ABANDONED)
    if error is not None:
        raise error
    return Abandoned(runs, given_back)


def count_orphans(schema: str, overdue: timedelta) -> int:
    """How many runs ``abandon_orphans()`` should have ended at least ``overdue`` ago."""
    return len(writer.query(_find_orphans(schema), {"now": clock.now() - overdue}))


def end_unsent(schema: str) -> int:
    """End the queued runs that no worker will execute, and return how many.

    A run without a task was queued in a transaction that was not committed. A run with a task has waited so long
    that the broker must have lost it. If the task arrives nevertheless, it finds that the run has ended.
    """
    is_unsent = "celery_task_id = ''"
    end = f"""
UPDATE {table(schema, Invocation)} i
SET status = CASE WHEN {is_unsent} THEN '{Status.CANCELLED}' ELSE '{Status.ABANDONED}' END,
    error_type = CASE WHEN {is_unsent} THEN 'NotSent' ELSE 'Abandoned' END,
    error_message = CASE WHEN {is_unsent} THEN %(unsent_message)s ELSE %(lost_message)s END,
    {END_COLUMNS}
WHERE status = '{Status.QUEUED}'
    AND updated_at < %(now)s - CASE WHEN {is_unsent} THEN %(unsent_after)s ELSE %(lost_after)s END
"""
    sql = f"WITH {end_runs(schema, end)} SELECT run_id, id, agent_name, status FROM run"
    arguments = {
        **time_zones.now_and_today(schema),
        "unsent_message": _UNSENT_MESSAGE,
        "lost_message": _LOST_MESSAGE,
        "unsent_after": _UNSENT_AFTER,
        "lost_after": _LOST_AFTER,
    }
    rows = writer.execute(sql, arguments)
    for run_id, invocation_id, agent_name, status in rows:
        run_signals.send_ended(schema, run_id, invocation_id, agent_name, Status(status))
    return len(rows)


def is_silent(schema: str) -> str:
    """The condition that a run was not updated for longer than one step may take."""
    return f"""
    i.updated_at < %(now)s - make_interval(secs => 60 + 2 * least({limits.MAX_TIMEOUT_S}, coalesce(
        i.timeout_seconds,
        (SELECT a.timeout_seconds FROM {table(schema, AgentConfig)} a WHERE a.id = i.agent_id),
        {_DEFAULT_TIMEOUT_S}
    )))
"""


def _find_orphans(schema: str) -> str:
    return f"""
SELECT i.id FROM {table(schema, Invocation)} i WHERE i.status = '{Status.RUNNING}' AND {is_silent(schema)}
UNION
SELECT i.id FROM {table(schema, InvocationRound)} r JOIN {table(schema, Invocation)} i ON i.id = r.invocation_id
WHERE r.status = '{Status.RUNNING}' AND {is_silent(schema)}
"""


def _abandon(schema: str) -> str:
    """End one run, its rounds and its tool calls, and give back what its rounds have reserved.

    It locks rows in the order of ``sql``, and skips a run that is writing its own row.
    """
    return f"""
WITH orphan AS (
    SELECT {usage_columns("i")} FROM {table(schema, Invocation)} i
    WHERE i.id = %(id)s AND {is_silent(schema)} FOR UPDATE OF i SKIP LOCKED
),
{_abandon_rounds(schema)},
{_end_calls(schema)},
run AS (
    UPDATE {table(schema, Invocation)} i
    SET {_run_columns()}
    FROM orphan, (
        SELECT count(*) AS rounds,
            CASE WHEN count(*) = count(cost_usd) THEN coalesce(sum(cost_usd), 0) END AS cost_usd,
            {", ".join(f"coalesce(sum({name}), 0) AS {name}" for name in TOKEN_COLUMNS)}
        FROM {table(schema, InvocationRound)} WHERE invocation_id = %(id)s
    ) totals
    WHERE i.id = orphan.id RETURNING {usage_columns("i")}, i.run_id
),{count_usage(schema, before="orphan", after=f"run {AFTER_MONTHS}")}
SELECT (SELECT count(*) FROM orphan), (SELECT coalesce(sum(reserved_usd), 0) FROM running_rounds),
    (SELECT run_id FROM run), (SELECT agent_name FROM run), (SELECT status FROM run)
"""


def _abandon_rounds(schema: str) -> str:
    rounds, spend = table(schema, InvocationRound), table(schema, Spend)
    return f"""
running_rounds AS (
    SELECT r.id, r.reserved_usd, r.provider_id, r.provider_month, orphan.agent_id, r.agent_month
    FROM {rounds} r JOIN orphan ON orphan.id = r.invocation_id
    WHERE r.status = '{Status.RUNNING}' FOR UPDATE OF r
),
ended_rounds AS (
    UPDATE {rounds} r SET status = '{Status.ABANDONED}', reserved_usd = 0, updated_at = %(now)s
    FROM running_rounds WHERE r.id = running_rounds.id
),
reserved AS (
    SELECT owner, owner_id, month_start, sum(reserved_usd) AS usd, count(*) AS calls
    FROM (
        SELECT '{Spend.Owner.PROVIDER}' AS owner, provider_id AS owner_id, provider_month AS month_start,
            reserved_usd FROM running_rounds
        UNION ALL
        SELECT '{Spend.Owner.AGENT}', agent_id, agent_month, reserved_usd FROM running_rounds
    ) by_owner
    GROUP BY owner, owner_id, month_start
),
months AS (
    SELECT s.id, reserved.usd, reserved.calls FROM {spend} s
    JOIN reserved
        ON reserved.owner = s.owner AND reserved.owner_id = s.owner_id AND reserved.month_start = s.month_start
    ORDER BY s.id FOR UPDATE OF s
),
updated_months AS (
    UPDATE {spend} s
    SET reserved_usd = s.reserved_usd - months.usd, unknown_calls = s.unknown_calls + months.calls,
        updated_at = %(now)s
    FROM months WHERE s.id = months.id
)"""


def _end_calls(schema: str) -> str:
    return f"""
ended_calls AS (
    UPDATE {table(schema, ToolCall)} c
    SET status = CASE c.status WHEN '{CallStatus.RUNNING}' THEN '{CallStatus.ERROR}' ELSE '{CallStatus.DENIED}' END,
        error_message = %(message)s, updated_at = %(now)s
    FROM {table(schema, InvocationRound)} r, orphan
    WHERE r.invocation_id = orphan.id AND c.round_id = r.id AND c.status IN {in_list(ToolCall.UNFINISHED)}
    RETURNING {ENDED_COLUMNS}
),{count_calls(schema, "ended_calls")}"""


def _run_columns() -> str:
    """A run that has ended keeps its status and error; only its totals are corrected."""
    return f"""
        status = CASE WHEN i.status = '{Status.RUNNING}' THEN '{Status.ABANDONED}' ELSE i.status END,
        error_type = CASE WHEN i.status = '{Status.RUNNING}' THEN 'Abandoned' ELSE i.error_type END,
        error_message = CASE WHEN i.status = '{Status.RUNNING}' THEN %(message)s ELSE i.error_message END,
        finished_at = coalesce(i.finished_at, %(now)s),
        finished_on = coalesce(i.finished_on, %(today)s),
        resume_state = '',
        updated_at = %(now)s,
        rounds_count = totals.rounds,
        cost_usd = totals.cost_usd,
        {", ".join(f"{name} = totals.{name}" for name in TOKEN_COLUMNS)}"""
