"""The rate limits' part of a statement: the generic cell rate algorithm (GCRA) in SQL, for providers and tools.

``RateLimitState.arrival_at`` is the algorithm's theoretical arrival time. A call may pass if it moves that time
to at most one minute from now.
"""

from __future__ import annotations

from ...database.sql import table
from ...models import RateLimitState


def check_limits(schema: str, *, after: str) -> str:
    """Lock the call's limits after the rows of the CTE ``after``, and find the one that the call would exceed.

    If a limit was changed, its used part is converted to the new limit first.

    CTEs: ``limits`` (the locked rows), ``clock``, ``charged_limits`` (the rows with the call's share), and
    ``exceeded_limit`` (the limit with the longest wait, if any).
    """
    return f"""
limits AS (
    SELECT l.id, l.key, l.arrival_at, l.busy_since, l.per_minute AS old_per_minute, w.per_minute, w.share_s
    FROM {table(schema, RateLimitState)} l
    JOIN unnest(%(limit_keys)s::text[], %(limit_shares)s::float8[], %(limits_per_minute)s::int[])
        AS w(key, share_s, per_minute) ON w.key = l.key
    WHERE (SELECT count(*) FROM {after}) >= 0
    ORDER BY l.key FOR UPDATE OF l
),
clock AS (
    SELECT clock_timestamp() AS at WHERE (SELECT count(*) FROM limits) >= 0
),
charged_limits AS (
    SELECT limits.id, limits.key, limits.per_minute,
        CASE WHEN limits.arrival_at > clock.at THEN limits.busy_since ELSE clock.at END AS busy_since,
        clock.at + greatest(limits.arrival_at - clock.at, interval '0') * limits.old_per_minute / limits.per_minute
            + make_interval(secs => limits.share_s) AS arrival_at
    FROM limits, clock
),
exceeded_limit AS (
    SELECT key, extract(epoch FROM arrival_at - clock.at)::float8 - 60 AS wait_s FROM charged_limits, clock
    WHERE extract(epoch FROM arrival_at - clock.at)::float8 - 60 > %(tolerance_s)s
    ORDER BY wait_s DESC LIMIT 1
),"""


HAS_ALL_LIMITS = "(SELECT count(*) FROM limits) = cardinality(%(limit_keys)s::text[])"
"""Whether each limit has a row. A limit that is used for the first time has none."""


def charge_limits(schema: str, *, granted: str) -> str:
    """Charge the call's share to its limits if the CTE ``granted`` has a row."""
    return f"""
updated_limits AS (
    UPDATE {table(schema, RateLimitState)} l
    SET arrival_at = c.arrival_at, busy_since = c.busy_since, per_minute = c.per_minute
    FROM charged_limits c, {granted} WHERE l.id = c.id
),"""


def adjust_limits(schema: str, *, after: str) -> str:
    """Replace the estimated share by the real usage: move each limit by ``limit_adjustments`` seconds.

    A share is given back only if the limit has been in use since it was charged. Otherwise the share has expired.
    """
    return f"""
limits AS (
    SELECT l.id, w.seconds * w.per_minute / l.per_minute AS seconds
    FROM {table(schema, RateLimitState)} l
    JOIN unnest(%(limit_keys)s::text[], %(limit_adjustments)s::float8[], %(limits_per_minute)s::int[])
        AS w(key, seconds, per_minute) ON w.key = l.key
    WHERE (SELECT count(*) FROM {after}) = 1
    ORDER BY l.key FOR UPDATE OF l
),
adjusted_limits AS (
    UPDATE {table(schema, RateLimitState)} l
    SET arrival_at = CASE
        WHEN limits.seconds > 0
            THEN greatest(l.arrival_at, clock_timestamp()) + make_interval(secs => limits.seconds)
        WHEN l.busy_since <= %(charged_at)s THEN l.arrival_at + make_interval(secs => limits.seconds)
        ELSE l.arrival_at
    END
    FROM limits WHERE l.id = limits.id RETURNING l.id
),"""
