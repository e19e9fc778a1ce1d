"""Reserve budget and rate limits for one call to a provider, and insert its round: one statement."""

from __future__ import annotations

from functools import lru_cache

from ...database.sql import column_list, placeholders, table
from ...models import AgentConfig, InvocationRound, Provider, Spend
from .payloads import write_payloads
from .rate_limits import HAS_ALL_LIMITS, charge_limits, check_limits
from .run_row import CACHE_SIZE, Columns, write_run_row
from .usage import count_usage, lock_run

BUDGET_MONTHS = f"""(
        (s.owner = '{Spend.Owner.PROVIDER}' AND s.owner_id = %(provider)s AND s.month_start = %(provider_month)s)
        OR (s.owner = '{Spend.Owner.AGENT}' AND s.owner_id = %(agent)s AND s.month_start = %(agent_month)s)
    )"""
"""The rows of ``Spend`` that the call is charged to."""

AFTER_MONTHS = "WHERE (SELECT count(*) FROM months) >= 0"


@lru_cache(CACHE_SIZE)
def reserve_round(schema: str, run: Columns, round_: Columns, *, is_first: bool, has_limits: bool) -> str:
    """Check switches, rate limits and budgets. If they allow the call, reserve its share and insert its round.

    The run's row is written either way. If maintenance has abandoned the run too early, it is not counted any more.
    ``existing_round`` finds the round if the statement was executed before and
    its confirmation was lost.
    """
    rounds = table(schema, InvocationRound)
    return f"""
WITH this_run AS (
    {lock_run(schema)}
),
owners AS (
    {_current_rules(Spend.Owner.PROVIDER, table(schema, Provider))}
    UNION ALL
    {_current_rules(Spend.Owner.AGENT, table(schema, AgentConfig))}
),{check_limits(schema, after="this_run") if has_limits else ""}
months AS (
    SELECT s.id, s.owner, s.spent_usd, s.reserved_usd, owners.limit_usd
    FROM {table(schema, Spend)} s JOIN owners ON owners.owner = s.owner
    WHERE (SELECT count(*) FROM {"limits" if has_limits else "this_run"}) >= 0 AND {BUDGET_MONTHS}
    ORDER BY s.id FOR UPDATE OF s
),
exceeded_budget AS (
    SELECT owner, spent_usd, reserved_usd, limit_usd FROM months
    WHERE spent_usd + reserved_usd + %(usd)s > limit_usd
        OR (NOT %(is_priced)s AND spent_usd + reserved_usd >= limit_usd)
    ORDER BY owner DESC LIMIT 1
),
decision AS (
    SELECT
        (SELECT count(*) FROM months) = (SELECT count(*) FROM owners)
            {f"AND {HAS_ALL_LIMITS}" if has_limits else ""} AS has_all_counters,
        (SELECT min(owner) FROM owners WHERE NOT is_enabled) AS disabled_owner,
        b.owner AS exceeded_owner, b.limit_usd, b.spent_usd, b.reserved_usd,
        {"l.wait_s, l.key, clock.at" if has_limits else "NULL::float8 AS wait_s, NULL, clock.at"}
    FROM {"clock LEFT JOIN exceeded_limit l ON true" if has_limits else "(SELECT clock_timestamp() AS at) clock"}
    LEFT JOIN exceeded_budget b ON true
),
run AS (
    {write_run_row(schema, run, is_first=is_first, source="FROM decision WHERE has_all_counters")}
),
round AS (
    INSERT INTO {rounds} (invocation_id, {column_list(round_)})
    SELECT run.id, {placeholders(round_, "round")} FROM run, decision
    WHERE has_all_counters AND disabled_owner IS NULL AND exceeded_owner IS NULL AND wait_s IS NULL
        AND NOT run.is_cancelled
    ON CONFLICT (invocation_id, number) DO NOTHING RETURNING id
),{write_payloads(schema, granted="round")}
reserved_months AS (
    UPDATE {table(schema, Spend)} s SET reserved_usd = s.reserved_usd + %(usd)s, calls = s.calls + 1
    FROM months, round WHERE s.id = months.id
),{charge_limits(schema, granted="round") if has_limits else ""}
existing_round AS (
    SELECT id FROM {rounds} WHERE invocation_id = (SELECT id FROM this_run) AND number = %(round_number)s
){"" if is_first else f",{count_usage(schema, before='this_run', after=f'run {AFTER_MONTHS}')}"}
SELECT run.id, coalesce((SELECT id FROM round), (SELECT id FROM existing_round)), decision.*, run.is_cancelled
FROM decision LEFT JOIN run ON true
"""


def _current_rules(owner: Spend.Owner, owners_table: str) -> str:
    """The current budget and switch of the provider or agent. A deleted one counts as disabled.

    The caller's open transaction may have changed the row, and the ledger's connection cannot see that change.
    Then the values that the run has read at its start apply. ``xmin`` is the transaction that wrote this version
    of the row; if it is the caller's, it is still in progress.
    """
    return f"""
    SELECT '{owner}' AS owner,
        CASE WHEN is_uncommitted THEN %({owner}_budget)s::numeric ELSE o.monthly_budget_usd END AS limit_usd,
        is_uncommitted OR coalesce(o.is_enabled, false) AS is_enabled
    FROM (SELECT %({owner})s::bigint AS id, %({owner}_xmin)s::text AS xmin) AS w
    LEFT JOIN {owners_table} o ON o.id = w.id
    CROSS JOIN LATERAL (SELECT %(is_replayed)s OR coalesce(CASE
        WHEN o.xmin::text = w.xmin THEN false ELSE {_IS_IN_PROGRESS} END, false)) AS v(is_uncommitted)
    WHERE w.id IS NOT NULL"""


_IS_IN_PROGRESS = """pg_xact_status((
            pg_current_xact_id()::text::bigint
            - ((pg_current_xact_id()::text::bigint - w.xmin::bigint) & 4294967295)
        )::text::xid8) = 'in progress'"""
"""``xmin`` is the lower 32 bits of a 64-bit transaction id, which is smaller than this statement's own."""
