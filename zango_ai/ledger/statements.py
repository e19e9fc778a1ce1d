"""The two statements of a call, in SQL. What they do is told in ``rounds``.

Rows are locked in one order everywhere: the run, its round, limits per minute by key, months by id. Where a part of
a statement has to come after another, it asks for that one's count.

A statement has only the parts that its call needs: PostgreSQL has to plan and to start each of them. It is put
together once for a tenant, and is the same text from then on, for the connection to recognize.
"""

from __future__ import annotations

from functools import lru_cache

from ..database.writer import assignments, marks, names, table, upsert
from ..models import AgentConfig, Invocation, InvocationRound, Provider, RateLimitState, Spend

Columns = tuple[str, ...]
_KEPT = 1024


@lru_cache(_KEPT)
def run_row(schema: str, run: Columns, *, is_first: bool, source: str = "") -> str:
    """Write the run's row. ``source`` gives a row where it is to be written, and none where it is not."""
    invocations = table(schema, Invocation)
    if is_first:
        changed = [name for name in run if name != "id"]
        selected = f"SELECT {marks(run, 'run')} {source}"
        return f"INSERT INTO {invocations} ({names(run)}) {selected} {upsert(changed, 'run_id')} RETURNING id"
    return f"UPDATE {invocations} SET {assignments(run, 'run')} WHERE run_id = %(key)s RETURNING id"


@lru_cache(_KEPT)
def beginning(schema: str, run: Columns, round_: Columns, *, is_first: bool, has_tolls: bool) -> str:
    """Look whether switches, limits and budgets allow a call; if so, take what it needs and write its row.

    ``already`` finds that where the statement was executed before, and its confirmation was lost.
    """
    rounds = table(schema, InvocationRound)
    return f"""
WITH mine AS (
    SELECT id FROM {table(schema, Invocation)} WHERE run_id = %(key)s FOR UPDATE
),
rules AS (
    {_rules_of("provider", table(schema, Provider))}
    UNION ALL
    {_rules_of("agent", table(schema, AgentConfig))}
),{_paces_to_take(schema) if has_tolls else ""}
months AS (
    SELECT s.id, s.owner, s.spent_usd, s.reserved_usd, rules.limit_usd
    FROM {table(schema, Spend)} s JOIN rules ON rules.owner = s.owner
    WHERE (SELECT count(*) FROM {"paces" if has_tolls else "mine"}) >= 0 AND {_BOTH_MONTHS}
    ORDER BY s.id FOR UPDATE OF s
),
overdrawn AS (
    SELECT owner, spent_usd, reserved_usd, limit_usd FROM months
    WHERE spent_usd + reserved_usd + %(usd)s > limit_usd
        OR (NOT %(is_priced)s AND spent_usd + reserved_usd >= limit_usd)
    ORDER BY owner DESC LIMIT 1
),
verdict AS (
    SELECT
        (SELECT count(*) FROM months) = 2
            {"AND (SELECT count(*) FROM paces) = %(tolls_count)s" if has_tolls else ""} AS is_complete,
        (SELECT min(owner) FROM rules WHERE NOT is_enabled) AS disabled,
        overdrawn.owner AS over, overdrawn.limit_usd, overdrawn.spent_usd, overdrawn.reserved_usd AS held_usd,
        {"busiest.wait_s, busiest.key, clock.at" if has_tolls else "NULL::float8 AS wait_s, NULL, now.at"}
    FROM {"clock LEFT JOIN busiest ON true" if has_tolls else "(SELECT clock_timestamp() AS at) AS now"}
    LEFT JOIN overdrawn ON true
),
run AS (
    {run_row(schema, run, is_first=is_first, source="FROM verdict WHERE is_complete")}
),
round AS (
    INSERT INTO {rounds} (invocation_id, {names(round_)})
    SELECT run.id, {marks(round_, "round")} FROM run, verdict
    WHERE verdict.is_complete AND verdict.disabled IS NULL AND verdict.over IS NULL AND verdict.wait_s IS NULL
    ON CONFLICT (invocation_id, number) DO NOTHING RETURNING id
),
held AS (
    UPDATE {table(schema, Spend)} s SET reserved_usd = s.reserved_usd + %(usd)s, calls = s.calls + 1
    FROM months, round WHERE s.id = months.id
),{_taking(schema) if has_tolls else ""}
already AS (
    SELECT id FROM {rounds} WHERE invocation_id = (SELECT id FROM mine) AND number = %(round_number)s
)
SELECT run.id, coalesce((SELECT id FROM round), (SELECT id FROM already)), verdict.*
FROM verdict LEFT JOIN run ON true
"""


def _rules_of(owner: str, table: str) -> str:
    """The budget and the switch of a provider or an agent as they are now. A deleted one counts as disabled.

    The caller's own transaction may have changed the row, and this connection does not see that change. Then the
    values that the run has read at its start hold. ``xmin`` is the transaction that wrote a version of a row: the
    caller's is still in progress.
    """
    return f"""
    SELECT '{owner}' AS owner,
        CASE WHEN is_unseen THEN %({owner}_budget)s::numeric ELSE r.monthly_budget_usd END AS limit_usd,
        is_unseen OR coalesce(r.is_enabled, false) AS is_enabled
    FROM (SELECT %({owner})s::bigint AS id, %({owner}_xmin)s::text AS xmin) AS w
    LEFT JOIN {table} r ON r.id = w.id
    CROSS JOIN LATERAL (SELECT %(is_repeated)s OR coalesce(CASE
        WHEN r.xmin::text = w.xmin THEN false ELSE {_IS_IN_PROGRESS} END, false)) AS own(is_unseen)"""


_IS_IN_PROGRESS = """pg_xact_status((
            pg_current_xact_id()::text::bigint
            - ((pg_current_xact_id()::text::bigint - w.xmin::bigint) & 4294967295)
        )::text::xid8) = 'in progress'"""
"""``xmin`` has the lower 32 of a transaction's 64 bits; the transaction is older than this statement's own."""

_BOTH_MONTHS = """(
        (s.owner = 'provider' AND s.owner_id = %(provider)s AND s.month_start = %(provider_month)s)
        OR (s.owner = 'agent' AND s.owner_id = %(agent)s AND s.month_start = %(agent_month)s)
    )"""


def _paces_to_take(schema: str) -> str:
    """What is used up was counted by the limit as it was; then the call's own share is added."""
    return f"""
paces AS (
    SELECT p.id, p.key, p.arrival_at, p.busy_since, p.per_minute, w.per_minute AS limit_now, w.taken_s
    FROM {table(schema, RateLimitState)} p
    JOIN unnest(%(keys)s::text[], %(tolls)s::float8[], %(rates)s::int[]) AS w(key, taken_s, per_minute)
        ON w.key = p.key
    WHERE (SELECT count(*) FROM mine) >= 0
    ORDER BY p.key FOR UPDATE OF p
),
clock AS (
    SELECT clock_timestamp() AS at WHERE (SELECT count(*) FROM paces) >= 0
),
paced AS (
    SELECT paces.id, paces.key, paces.limit_now, paces.taken_s,
        CASE WHEN paces.arrival_at > clock.at THEN paces.busy_since ELSE clock.at END AS busy_since,
        clock.at + greatest(paces.arrival_at - clock.at, interval '0') * paces.per_minute / paces.limit_now
            + make_interval(secs => paces.taken_s) AS arrival_at
    FROM paces, clock
),
busiest AS (
    SELECT key, extract(epoch FROM arrival_at - clock.at)::float8 - 60 AS wait_s FROM paced, clock
    WHERE extract(epoch FROM arrival_at - clock.at)::float8 - 60 > %(tolerance)s
    ORDER BY wait_s DESC LIMIT 1
),"""


def _taking(schema: str) -> str:
    return f"""
taken AS (
    UPDATE {table(schema, RateLimitState)} p
    SET arrival_at = paced.arrival_at, busy_since = paced.busy_since, per_minute = paced.limit_now
    FROM paced, round WHERE p.id = paced.id
),"""


@lru_cache(_KEPT)
def settling(
    schema: str, run: Columns, round_: Columns, *, has_moves: bool, has_alerts: bool, ends_run: bool
) -> str:
    """End a round that has not ended: what it held becomes what it cost.

    ``ends_run``: the run's row is written in any case, and not only with the round's.
    """
    rounds, spend = table(schema, InvocationRound), table(schema, Spend)
    return f"""
WITH mine AS (
    SELECT id FROM {table(schema, Invocation)} WHERE run_id = %(key)s FOR UPDATE
),
was AS (
    SELECT id, (status = 'abandoned')::int AS was_unknown, reserved_usd FROM {rounds}
    WHERE invocation_id = (SELECT id FROM mine) AND number = %(number)s AND status IN ('running', 'abandoned')
    FOR UPDATE
),{_paces_to_move(schema) if has_moves else ""}
months AS (
    SELECT s.id FROM {spend} s
    WHERE (SELECT count(*) FROM was) = 1 {"AND (SELECT count(*) FROM paced) >= 0" if has_moves else ""}
        AND {_BOTH_MONTHS}
    ORDER BY s.id FOR UPDATE
),
counted AS (
    UPDATE {spend} s
    SET spent_usd = s.spent_usd + %(charged)s,
        reserved_usd = s.reserved_usd - was.reserved_usd,
        unknown_calls = s.unknown_calls + %(unknown)s - was.was_unknown,
        {_ALERT if has_alerts else ""}
        updated_at = %(round_updated_at)s
    FROM months, was WHERE s.id = months.id
    RETURNING s.owner, s.spent_usd, s.alerted_by
),
ended AS (
    UPDATE {rounds} r SET {assignments(round_, "round")}
    FROM was WHERE r.id = was.id
),
run AS (
    UPDATE {table(schema, Invocation)} i SET {assignments(run, "run")}
    FROM {"mine" if ends_run else "mine, was"} WHERE i.id = mine.id
),
alerts AS ({_alerts(spend) if has_alerts else "SELECT NULL AS owner, NULL AS spent_usd WHERE false"})
SELECT alerts.owner, alerts.spent_usd
FROM {rounds} LEFT JOIN alerts ON true
WHERE invocation_id = (SELECT id FROM mine) AND number = %(number)s
"""


def _paces_to_move(schema: str) -> str:
    """Given back only while what was taken is still in there: the limit has not been at rest since."""
    return f"""
paces AS (
    SELECT p.id, w.seconds * w.per_minute / p.per_minute AS seconds
    FROM {table(schema, RateLimitState)} p
    JOIN unnest(%(keys)s::text[], %(moves)s::float8[], %(rates)s::int[]) AS w(key, seconds, per_minute)
        ON w.key = p.key
    WHERE (SELECT count(*) FROM was) = 1
    ORDER BY p.key FOR UPDATE OF p
),
paced AS (
    UPDATE {table(schema, RateLimitState)} p
    SET arrival_at = CASE
        WHEN paces.seconds > 0 THEN greatest(p.arrival_at, clock_timestamp()) + make_interval(secs => paces.seconds)
        WHEN p.busy_since <= %(paced_at)s THEN p.arrival_at + make_interval(secs => paces.seconds)
        ELSE p.arrival_at
    END
    FROM paces WHERE p.id = paces.id RETURNING p.id
),"""


_ALERT = """(alerted_at, alerted_by) = (
            SELECT CASE WHEN is_due THEN %(round_updated_at)s ELSE s.alerted_at END,
                CASE WHEN is_due THEN %(alert)s ELSE s.alerted_by END
            FROM (SELECT s.alerted_at IS NULL AND s.spent_usd + %(charged)s >= CASE s.owner
                WHEN 'provider' THEN %(provider_alert)s::numeric ELSE %(agent_alert)s::numeric END) AS due(is_due)
        ),"""


def _alerts(spend: str) -> str:
    """Also where the statement was executed before, and its confirmation was lost."""
    return f"""
    SELECT owner, spent_usd FROM counted WHERE alerted_by = %(alert)s
    UNION ALL
    SELECT owner, spent_usd FROM {spend} WHERE alerted_by = %(alert)s AND NOT EXISTS (SELECT 1 FROM counted)
"""
