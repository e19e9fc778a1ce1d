"""Write the run's row, and count its usage."""

from __future__ import annotations

from functools import lru_cache

from ...database.sql import assignments, column_list, placeholders, table, upsert
from ...models import Invocation
from .usage import IS_CANCELLED, count_usage, lock_run, usage_columns

Columns = tuple[str, ...]
CACHE_SIZE = 1024
Status = Invocation.Status


@lru_cache(CACHE_SIZE)
def write_run(schema: str, run: Columns, *, is_first: bool) -> str:
    """Insert the run's row (``is_first``) or update it, and count its usage if it ends."""
    count = count_usage(schema, before="this_run", after=_AFTER[is_first])
    return f"""
WITH this_run AS ({lock_run(schema)}),
run AS ({write_run_row(schema, run, is_first=is_first, source=f"WHERE {AFTER_LOCK}")}),{count}
SELECT id, is_cancelled FROM run
"""


AFTER_LOCK = "(SELECT count(*) FROM this_run) >= 0"
"""The old version of the row must be read first: ``FOR UPDATE`` skips a row that the same statement has changed."""
_AFTER = {False: "run", True: "run WHERE is_new OR EXISTS (SELECT FROM this_run)"}
"""A row that exists, but was not seen, was inserted and counted by this statement's own first execution."""


def write_run_row(schema: str, run: Columns, *, is_first: bool, source: str = "") -> str:
    """Insert the run's row (``is_first``) or update it. Returns ``is_cancelled``, and what ``count_usage()`` needs.

    ``source`` is a FROM or WHERE clause: the row is inserted only if the clause returns a row. It must come after
    the CTE ``this_run``.
    """
    invocations = table(schema, Invocation)
    returned = f"RETURNING {usage_columns('i')}, {IS_CANCELLED}"
    if not is_first:
        return (
            f"UPDATE {invocations} i SET {run_assignments(run)} WHERE run_id = %(key)s AND {AFTER_LOCK} {returned}"
        )
    updates = upsert([name for name in run if name != "id"], "run_id")
    values = f"SELECT {placeholders(run, 'run')} {source}"
    return (
        f"INSERT INTO {invocations} AS i ({column_list(run)}) {values} {updates} {returned}, i.xmax = 0 AS is_new"
    )


def run_assignments(run: Columns) -> str:
    """The columns of the run's row. A run that would succeed although it was cancelled ends as ``cancelled``."""
    others = assignments([name for name in run if name != "status"], "run")
    if "status" not in run:
        return others
    status = f"""CASE WHEN i.cancel_requested_at IS NOT NULL AND %(run_status)s::text = '{Status.SUCCESS}'
        THEN '{Status.CANCELLED}' ELSE %(run_status)s::text END"""
    return f'"status" = {status}' + (f", {others}" if others else "")
