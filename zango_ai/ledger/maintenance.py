"""What has to be done from time to time: runs whose process is gone are ended, and what they hold is given back."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal

from django.db import Error

from .. import limits
from ..database import writer
from ..database.writer import table
from ..models import AgentConfig, Invocation, InvocationRound, Spend, ToolCall
from . import alerts, clock
from .reconciliation import TOKENS

logger = logging.getLogger("zango_ai.maintenance")

_DEFAULT_TIMEOUT_S = 30
_UNSENT_FOR, _LOST_FOR = timedelta(hours=1), timedelta(days=7)
_UNSENT = "What it was queued in, a transaction or a block of one, was not committed, so no task was sent."
_LOST = "No worker has taken it up for a week."
_MESSAGE = (
    "The process that ran it has shown no sign of life for longer than a call may take. What its last call cost is "
    "not known."
)


@dataclass(frozen=True, slots=True)
class Abandoned:
    runs: int
    given_back_usd: Decimal


def abandon_orphans(schema: str) -> Abandoned:
    """End the runs that have shown no life for twice their agent's timeout and a minute.

    Each step of a run touches its row, and none takes longer than the timeout. A run that was given up and goes on
    after all (its machine had been suspended) puts its rows right itself.
    """
    now = clock.now()
    runs, given_back = 0, Decimal(0)
    trouble: Error | None = None
    for (key,) in writer.execute(_orphans(schema), {"now": now}):
        try:
            arguments = {"id": key, "now": now, "message": _MESSAGE}
            ((found, usd, run_id, agent_name, status),) = writer.execute(_ending(schema), arguments)
        except Error as exc:  # one that cannot be ended keeps no other from it
            logger.exception("Invocation %s of schema %s cannot be ended", key, schema)
            trouble = exc
        else:
            runs += found
            given_back += usd
            if found and status == "abandoned":
                alerts.tell_finished(schema, run_id, key, agent_name, status)
    if trouble is not None:
        raise trouble
    return Abandoned(runs, given_back)


def end_unsent(schema: str) -> int:
    """End the queued runs that nobody will execute any more; how many.

    One without a task was queued in a transaction that was not committed. One with a task has waited for so long
    that the broker must have lost it; should the task come after all, it finds the run over.
    """
    now = clock.now()
    sql = f"""
UPDATE {table(schema, Invocation)}
SET status = CASE WHEN celery_task_id = '' THEN 'cancelled' ELSE 'abandoned' END,
    error_type = CASE WHEN celery_task_id = '' THEN 'NotSent' ELSE 'Abandoned' END,
    error_message = CASE WHEN celery_task_id = '' THEN %(unsent)s ELSE %(lost)s END,
    resume_state = '', finished_at = %(now)s, updated_at = %(now)s
WHERE status = 'queued'
    AND updated_at < %(now)s - CASE WHEN celery_task_id = '' THEN %(unsent_for)s ELSE %(lost_for)s END
RETURNING run_id, id, agent_name, status
"""
    ended = writer.execute(
        sql,
        {"now": now, "unsent": _UNSENT, "lost": _LOST, "unsent_for": _UNSENT_FOR, "lost_for": _LOST_FOR},
    )
    for run in ended:
        alerts.tell_finished(schema, *run)
    return len(ended)


def _is_silent(schema: str) -> str:
    return f"""
    i.updated_at < %(now)s - make_interval(secs => 60 + 2 * least({limits.MAX_TIMEOUT_S}, coalesce(
        i.timeout_seconds,
        (SELECT a.timeout_seconds FROM {table(schema, AgentConfig)} a WHERE a.id = i.agent_id),
        {_DEFAULT_TIMEOUT_S}
    )))
"""


def _orphans(schema: str) -> str:
    return f"""
SELECT i.id FROM {table(schema, Invocation)} i WHERE i.status = 'running' AND {_is_silent(schema)}
UNION
SELECT i.id FROM {table(schema, InvocationRound)} r JOIN {table(schema, Invocation)} i ON i.id = r.invocation_id
WHERE r.status = 'running' AND {_is_silent(schema)}
"""


def _ending(schema: str) -> str:
    """Locks in the order of ``rounds``, and waits for no run that is at work on its own row."""
    rounds = table(schema, InvocationRound)
    return f"""
WITH orphan AS (
    SELECT i.id, i.agent_id FROM {table(schema, Invocation)} i
    WHERE i.id = %(id)s AND {_is_silent(schema)} FOR UPDATE OF i SKIP LOCKED
),
lost AS (
    SELECT r.id, r.reserved_usd, r.provider_id, r.provider_month, orphan.agent_id, r.agent_month
    FROM {rounds} r JOIN orphan ON orphan.id = r.invocation_id WHERE r.status = 'running' FOR UPDATE OF r
),
ended AS (
    UPDATE {rounds} r SET status = 'abandoned', reserved_usd = 0, updated_at = %(now)s
    FROM lost WHERE r.id = lost.id
),
interrupted AS (
    UPDATE {table(schema, ToolCall)} c
    SET status = CASE c.status WHEN 'running' THEN 'error' ELSE 'denied' END,
        error_message = %(message)s, updated_at = %(now)s
    FROM {rounds} r, orphan
    WHERE r.invocation_id = orphan.id AND c.round_id = r.id AND c.status IN ('running', 'awaiting_approval')
),
due AS (
    SELECT owner, owner_id, month_start, sum(reserved_usd) AS given_back, count(*) AS calls
    FROM (
        SELECT 'provider' AS owner, provider_id AS owner_id, provider_month AS month_start, reserved_usd FROM lost
        UNION ALL SELECT 'agent', agent_id, agent_month, reserved_usd FROM lost
    ) held
    GROUP BY owner, owner_id, month_start
),
months AS (
    SELECT s.id, due.given_back, due.calls FROM {table(schema, Spend)} s
    JOIN due ON due.owner = s.owner AND due.owner_id = s.owner_id AND due.month_start = s.month_start
    ORDER BY s.id FOR UPDATE OF s
),
counted AS (
    UPDATE {table(schema, Spend)} s
    SET reserved_usd = s.reserved_usd - months.given_back,
        unknown_calls = s.unknown_calls + months.calls,
        updated_at = %(now)s
    FROM months WHERE s.id = months.id
),
run AS (
    UPDATE {table(schema, Invocation)} i
    SET status = CASE WHEN i.status = 'running' THEN 'abandoned' ELSE i.status END,
        error_type = CASE WHEN i.status = 'running' THEN 'Abandoned' ELSE i.error_type END,
        error_message = CASE WHEN i.status = 'running' THEN %(message)s ELSE i.error_message END,
        finished_at = coalesce(i.finished_at, %(now)s),
        resume_state = '',
        updated_at = %(now)s,
        rounds_count = sums.rounds,
        cost_usd = sums.cost_usd,
        {", ".join(f"{name} = sums.{name}" for name in TOKENS)}
    FROM orphan, (
        SELECT count(*) AS rounds,
            CASE WHEN count(*) = count(cost_usd) THEN coalesce(sum(cost_usd), 0) END AS cost_usd,
            {", ".join(f"coalesce(sum({name}), 0) AS {name}" for name in TOKENS)}
        FROM {rounds} WHERE invocation_id = %(id)s
    ) sums
    WHERE i.id = orphan.id RETURNING i.run_id, i.agent_name, i.status
)
SELECT (SELECT count(*) FROM orphan), (SELECT coalesce(sum(reserved_usd), 0) FROM lost),
    (SELECT run_id FROM run), (SELECT agent_name FROM run), (SELECT status FROM run)
"""
