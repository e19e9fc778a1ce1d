"""Delete stored texts that no run refers to any more, also while runs are in progress."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

from ..database import writer
from ..database.sql import table
from ..models import Invocation, InvocationRound, Payload
from . import clock
from .removal import digest, references

_BATCH = 5_000


def delete(
    schema: str, digests: Sequence[UUID], users: Sequence[str], *, removal: writer.Statement | None = None
) -> None:
    """Delete those of these payloads that no run with texts refers to. They belong to runs of these users.

    ``removal`` removes the texts of runs that refer to them, in the same transaction: else an interruption would
    leave payloads that nothing leads to. A payload belongs to one user, so only the rounds of these users are read,
    once for each batch.
    """
    today = clock.now().date()
    days = {"today": today, "yesterday": today - timedelta(days=1)}
    batches = [
        {**days, "digests": [str(digest) for digest in digests[start : start + _BATCH]]}
        for start in range(0, len(digests), _BATCH)
    ]
    for batch in batches:
        _announce(schema, batch)
    with writer.transaction() as execute:
        if removal is not None:
            execute(*removal)
        for batch in batches:
            execute(_delete_sql(schema), {**batch, "users": list(users)})
    for batch in batches:
        writer.execute(_set_day(schema, "today"), batch)


def references_sql(schema: str, condition: str) -> str:
    """The digests of the payloads that runs ``i`` with this condition refer to."""
    return f"""
SELECT DISTINCT {digest("e.item")} FROM {table(schema, Invocation)} i
JOIN {table(schema, InvocationRound)} r ON r.invocation_id = i.id
CROSS JOIN LATERAL {references("r")} AS e(item)
WHERE {condition}
"""


def _announce(schema: str, arguments: Mapping[str, Any]) -> None:
    """Let every round from now on lock these payloads, and wait for those that have not.

    A round does not lock a payload that was used today. So it could refer to one while that is being deleted.
    Waiting for the lock of the table is waiting for statements of a few milliseconds. It is released at once.
    """
    writer.execute(_set_day(schema, "yesterday"), arguments)
    writer.execute(f"DO $$ BEGIN LOCK TABLE {table(schema, InvocationRound)} IN SHARE MODE; END $$", {})


def _set_day(schema: str, day: str) -> str:
    """Say that these payloads were used last on that day, ``today`` or ``yesterday``."""
    return f"""
UPDATE {table(schema, Payload)} SET last_used_on = %({day})s::date
WHERE digest = ANY(%(digests)s::text[]::uuid[]) AND last_used_on >= %(yesterday)s::date
"""


def _delete_sql(schema: str) -> str:
    """A payload that was used since it was announced has today's date."""
    used = references_sql(schema, "i.user_ref = ANY(%(users)s::text[]) AND i.payload_removed_at IS NULL")
    return f"""
DELETE FROM {table(schema, Payload)} p
WHERE p.digest = ANY(%(digests)s::text[]::uuid[]) AND p.last_used_on < %(today)s::date
    AND p.digest NOT IN (SELECT digest FROM ({used}) AS used(digest))
"""
