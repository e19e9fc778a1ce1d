"""Settle a round: replace the reserved amount with the actual cost. One statement."""

from __future__ import annotations

from functools import lru_cache

from ...database.sql import assignments, in_list, table
from ...models import Invocation, InvocationRound, Spend
from .rate_limits import adjust_limits
from .reserve_round import AFTER_MONTHS, BUDGET_MONTHS
from .run_row import CACHE_SIZE, Columns, run_assignments
from .usage import count_usage, lock_run, usage_columns

Status = Invocation.Status
_UNSETTLED = in_list([Status.RUNNING, Status.ABANDONED])


@lru_cache(CACHE_SIZE)
def settle_round(
    schema: str, run: Columns, round_: Columns, *, has_adjustments: bool, has_alerts: bool, ends_run: bool
) -> str:
    """End a round that is running, or that maintenance has abandoned too early.

    Without ``ends_run``, the run's row is updated only if the round is. With it, always.
    """
    rounds, spend = table(schema, InvocationRound), table(schema, Spend)
    after_limits = "AND (SELECT count(*) FROM adjusted_limits) >= 0" if has_adjustments else ""
    return f"""
WITH this_run AS (
    {lock_run(schema)}
),
open_round AS (
    SELECT id, (status = '{Status.ABANDONED}')::int AS was_unknown, reserved_usd FROM {rounds}
    WHERE invocation_id = (SELECT id FROM this_run) AND number = %(number)s AND status IN {_UNSETTLED}
    FOR UPDATE
),{adjust_limits(schema, after="open_round") if has_adjustments else ""}
months AS (
    SELECT s.id FROM {spend} s
    WHERE (SELECT count(*) FROM open_round) = 1 {after_limits} AND {BUDGET_MONTHS}
    ORDER BY s.id FOR UPDATE
),
charged_months AS (
    UPDATE {spend} s
    SET spent_usd = s.spent_usd + %(charged)s,
        reserved_usd = s.reserved_usd - open_round.reserved_usd,
        unknown_calls = s.unknown_calls + %(unknown)s - open_round.was_unknown,
        {_ALERT_COLUMNS if has_alerts else ""}
        updated_at = %(round_updated_at)s
    FROM months, open_round WHERE s.id = months.id
    RETURNING s.owner, s.spent_usd, s.alerted_by
),
ended_round AS (
    UPDATE {rounds} r SET {assignments(round_, "round")}
    FROM open_round WHERE r.id = open_round.id
),
run AS (
    UPDATE {table(schema, Invocation)} i SET {run_assignments(run)}
    FROM {"this_run" if ends_run else "this_run, open_round"} WHERE i.id = this_run.id
    RETURNING {usage_columns("i")}
),
alerts AS ({_alerts(spend) if has_alerts else "SELECT NULL AS owner, NULL AS spent_usd WHERE false"}),{
        count_usage(schema, before="this_run", after=f"run {AFTER_MONTHS}")
    }
SELECT (SELECT is_cancelled FROM this_run), alerts.owner, alerts.spent_usd
FROM {rounds} LEFT JOIN alerts ON true
WHERE invocation_id = (SELECT id FROM this_run) AND number = %(number)s
"""


_ALERT_COLUMNS = f"""(alerted_at, alerted_by) = (
            SELECT CASE WHEN is_due THEN %(round_updated_at)s ELSE s.alerted_at END,
                CASE WHEN is_due THEN %(alert)s ELSE s.alerted_by END
            FROM (SELECT s.alerted_at IS NULL AND s.spent_usd + %(charged)s >= CASE s.owner
                WHEN '{Spend.Owner.PROVIDER}' THEN %(provider_alert)s::numeric
                ELSE %(agent_alert)s::numeric END) AS due(is_due)
        ),"""


def _alerts(spend: str) -> str:
    """The alerts of this call, also if the statement was executed before and its confirmation was lost."""
    return f"""
    SELECT owner, spent_usd FROM charged_months WHERE alerted_by = %(alert)s
    UNION ALL
    SELECT owner, spent_usd FROM {spend}
    WHERE alerted_by = %(alert)s AND NOT EXISTS (SELECT 1 FROM charged_months)
"""
