"""The two statements of a call, in SQL. What they do is told in ``rounds``.

Rows are locked in one order everywhere: the run, its round, limits per minute by key, months by id. Where a part of
a statement has to come after another, it asks for that one's count.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..models import Invocation, InvocationRound, Pace, Spend
from . import writer
from .writer import names, table, upsert

Values = Mapping[str, Any]


def run_row(schema: str, run: Values, *, is_first: bool, source: str = "") -> str:
    """Write the run's row. ``source`` gives a row where it is to be written, and none where it is not."""
    invocations = table(schema, Invocation)
    if is_first:
        changed = [name for name in run if name != "id"]
        selected = f"SELECT {writer.marks(run, 'run')} {source}"
        return f"INSERT INTO {invocations} ({names(run)}) {selected} {upsert(changed, 'run_id')} RETURNING id"
    return f"UPDATE {invocations} SET {writer.assignments(run, 'run')} WHERE run_id = %(key)s RETURNING id"


def beginning(schema: str, run: Values, round_: Values, *, is_first: bool) -> str:
    """Look whether limits and budgets allow a call; if so, take what it needs and write its row."""
    rounds = table(schema, InvocationRound)
    return f"""
WITH mine AS (
    SELECT id FROM {table(schema, Invocation)} WHERE run_id = %(key)s FOR UPDATE
),
paces AS (
    SELECT p.id, p.key, p.arrival_at, p.busy_since, p.per_minute, w.per_minute AS limit_now, w.taken_s
    FROM {table(schema, Pace)} p
    JOIN unnest(%(keys)s::text[], %(tolls)s::float8[], %(rates)s::int[]) AS w(key, taken_s, per_minute)
        ON w.key = p.key
    WHERE (SELECT count(*) FROM mine) >= 0
    ORDER BY p.key FOR UPDATE OF p
),
clock AS (
    SELECT clock_timestamp() AS at WHERE (SELECT count(*) FROM paces) >= 0
),
paced AS (  -- what is used up was counted by the limit as it was; then the call's own share is added
    SELECT paces.id, paces.key, paces.limit_now, paces.taken_s,
        CASE WHEN paces.arrival_at > clock.at THEN paces.busy_since ELSE clock.at END AS busy_since,
        clock.at + greatest(paces.arrival_at - clock.at, interval '0') * paces.per_minute / paces.limit_now
            + make_interval(secs => paces.taken_s) AS arrival_at
    FROM paces, clock
),
waits AS (
    SELECT key, extract(epoch FROM arrival_at - clock.at)::float8 - 60 AS wait_s FROM paced, clock
),
months AS (
    SELECT s.id, s.owner, s.spent_usd, s.reserved_usd, w.limit_usd
    FROM {table(schema, Spend)} s
    JOIN unnest(%(owners)s::text[], %(owner_ids)s::bigint[], %(months)s::date[], %(budgets)s::numeric[])
        AS w(owner, owner_id, month_start, limit_usd)
        ON w.owner = s.owner AND w.owner_id = s.owner_id AND w.month_start = s.month_start
    WHERE (SELECT count(*) FROM paces) >= 0
    ORDER BY s.id FOR UPDATE OF s
),
overdrawn AS (
    SELECT owner, spent_usd, reserved_usd FROM months
    WHERE spent_usd + reserved_usd + %(usd)s > limit_usd
        OR (NOT %(is_priced)s AND spent_usd + reserved_usd >= limit_usd)
    ORDER BY owner DESC LIMIT 1
),
verdict AS (
    SELECT
        (SELECT count(*) FROM paces) = %(tolls_count)s AND (SELECT count(*) FROM months) = 2 AS is_complete,
        (SELECT owner FROM overdrawn) AS over,
        (SELECT spent_usd FROM overdrawn) AS spent_usd,
        (SELECT reserved_usd FROM overdrawn) AS held_usd,
        (SELECT max(wait_s) FROM waits WHERE wait_s > %(tolerance)s) AS wait_s,
        (SELECT key FROM waits WHERE wait_s > %(tolerance)s ORDER BY wait_s DESC LIMIT 1) AS busiest,
        (SELECT at FROM clock) AS at
),
run AS (
    {run_row(schema, run, is_first=is_first, source="FROM verdict WHERE is_complete")}
),
round AS (
    INSERT INTO {rounds} (invocation_id, {names(round_)})
    SELECT run.id, {writer.marks(round_, "round")} FROM run, verdict
    WHERE verdict.is_complete AND verdict.over IS NULL AND verdict.wait_s IS NULL
    ON CONFLICT (invocation_id, number) DO NOTHING RETURNING id
),
held AS (
    UPDATE {table(schema, Spend)} s SET reserved_usd = s.reserved_usd + %(usd)s
    FROM months, round WHERE s.id = months.id
),
taken AS (
    UPDATE {table(schema, Pace)} p
    SET arrival_at = paced.arrival_at, busy_since = paced.busy_since, per_minute = paced.limit_now
    FROM paced, round WHERE p.id = paced.id
),
already AS (  -- where the statement was executed before, and its confirmation was lost
    SELECT r.id FROM {rounds} r JOIN mine ON mine.id = r.invocation_id WHERE r.number = %(round_number)s
)
SELECT run.id, coalesce((SELECT id FROM round), (SELECT id FROM already)), verdict.*
FROM verdict LEFT JOIN run ON true
"""


def settling(schema: str, run: Values, round_: Values) -> str:
    """End a round that has not ended: what it held becomes what it cost."""
    return f"""
WITH mine AS (
    SELECT id, agent_id FROM {table(schema, Invocation)} WHERE run_id = %(key)s FOR UPDATE
),
was AS (
    SELECT r.id, (r.status = 'abandoned')::int AS was_unknown, r.reserved_usd,
        r.provider_id, r.provider_month, mine.agent_id, r.agent_month
    FROM {table(schema, InvocationRound)} r JOIN mine ON mine.id = r.invocation_id
    WHERE r.number = %(number)s AND r.status IN ('running', 'abandoned')
    FOR UPDATE OF r
),
paces AS (
    SELECT p.id, w.seconds * w.per_minute / p.per_minute AS seconds
    FROM {table(schema, Pace)} p
    JOIN unnest(%(keys)s::text[], %(moves)s::float8[], %(rates)s::int[]) AS w(key, seconds, per_minute)
        ON w.key = p.key
    WHERE (SELECT count(*) FROM was) = 1
    ORDER BY p.key FOR UPDATE OF p
),
paced AS (  -- given back only while what was taken is still in there: the limit has not been at rest since
    UPDATE {table(schema, Pace)} p
    SET arrival_at = CASE
        WHEN paces.seconds > 0 THEN greatest(p.arrival_at, clock_timestamp()) + make_interval(secs => paces.seconds)
        WHEN p.busy_since <= %(paced_at)s THEN p.arrival_at + make_interval(secs => paces.seconds)
        ELSE p.arrival_at
    END
    FROM paces WHERE p.id = paces.id RETURNING p.id
),
months AS (
    SELECT s.id, s.alerted_at, was.reserved_usd AS given_back, was.was_unknown
    FROM {table(schema, Spend)} s
    JOIN was ON (s.owner = 'provider' AND s.owner_id = was.provider_id AND s.month_start = was.provider_month)
        OR (s.owner = 'agent' AND s.owner_id = was.agent_id AND s.month_start = was.agent_month)
    WHERE (SELECT count(*) FROM paced) >= 0
    ORDER BY s.id FOR UPDATE OF s
),
counted AS (
    UPDATE {table(schema, Spend)} s
    SET spent_usd = s.spent_usd + %(charged)s,
        reserved_usd = s.reserved_usd - months.given_back,
        unknown_calls = s.unknown_calls + %(unknown)s - months.was_unknown,
        (alerted_at, alerted_by) = (
            SELECT CASE WHEN is_due THEN %(now)s ELSE s.alerted_at END,
                CASE WHEN is_due THEN %(alert)s ELSE s.alerted_by END
            FROM (SELECT s.alerted_at IS NULL AND s.spent_usd + %(charged)s >= CASE s.owner
                WHEN 'provider' THEN %(provider_alert)s::numeric ELSE %(agent_alert)s::numeric END) AS due(is_due)
        ),
        updated_at = %(now)s
    FROM months WHERE s.id = months.id
    RETURNING s.owner, s.spent_usd, s.alerted_by
),
ended AS (
    UPDATE {table(schema, InvocationRound)} r SET {writer.assignments(round_, "round")}
    FROM was WHERE r.id = was.id
),
run AS (
    UPDATE {table(schema, Invocation)} i SET {writer.assignments(run, "run")}
    FROM was, mine WHERE i.id = mine.id
),
alerts AS (
    SELECT owner, spent_usd FROM counted WHERE alerted_by = %(alert)s
    UNION ALL  -- where the statement was executed before, and its confirmation was lost
    SELECT owner, spent_usd FROM {table(schema, Spend)}
    WHERE alerted_by = %(alert)s AND NOT EXISTS (SELECT 1 FROM counted)
)
SELECT alerts.owner, alerts.spent_usd
FROM {table(schema, InvocationRound)} r JOIN mine ON mine.id = r.invocation_id
LEFT JOIN alerts ON true
WHERE r.number = %(number)s
"""
