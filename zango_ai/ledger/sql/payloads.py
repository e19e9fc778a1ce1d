"""The payloads' part of a statement: store the texts of a request that are not stored yet."""

from __future__ import annotations

from ...database.sql import table
from ...models import Payload


def write_payloads(schema: str, *, granted: str) -> str:
    """Insert the missing payloads if the CTE ``granted`` has a row, and note that all of them were used today.

    A payload that was used today already is only read: no lock, no write. The digests are in order, so two
    statements that insert the same payloads never deadlock.
    """
    payloads = table(schema, Payload)
    return f"""
payloads AS (
    INSERT INTO {payloads} AS p (digest, content, owner, last_used_on)
    SELECT w.digest::uuid,
        convert_from(substring(%(payload_contents)s::bytea, w.start, w.size), 'UTF8')::jsonb,
        %(payload_owner)s::bigint, %(payload_day)s::date
    FROM unnest(%(payload_digests)s::text[], %(payload_starts)s::int[], %(payload_sizes)s::int[])
        AS w(digest, start, size)
    WHERE EXISTS (SELECT 1 FROM {granted})
        -- A scalar subquery: the planner might read the whole table for a join.
        AND coalesce((SELECT k.last_used_on FROM {payloads} k WHERE k.digest = w.digest::uuid), '-infinity')
            < %(payload_day)s::date
    ORDER BY w.digest COLLATE "C"
    ON CONFLICT (digest) DO UPDATE SET last_used_on = EXCLUDED.last_used_on
        WHERE p.last_used_on < EXCLUDED.last_used_on
),"""
