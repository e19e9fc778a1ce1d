"""Write the run's row, and count its usage."""

from __future__ import annotations

from functools import lru_cache

from ...database.sql import assignments, column_list, placeholders, table, upsert
from ...models import Invocation
from .usage import count_usage, lock_run, usage_columns

Columns = tuple[str, ...]
CACHE_SIZE = 1024


@lru_cache(CACHE_SIZE)
def write_run(schema: str, run: Columns, *, is_first: bool) -> str:
    """Insert the run's row (``is_first``) or update it, and count its usage if it ends."""
    count = count_usage(schema, before="this_run", after=_AFTER[is_first])
    return f"""
WITH this_run AS ({lock_run(schema)}),
run AS ({write_run_row(schema, run, is_first=is_first)}),{count}
SELECT id FROM run
"""


_AFTER = {False: "run", True: "run WHERE is_new OR EXISTS (SELECT FROM this_run)"}
"""A row that exists, but was not seen, was inserted and counted by this statement's own first execution."""


def write_run_row(schema: str, run: Columns, *, is_first: bool, source: str = "") -> str:
    """Insert the run's row (``is_first``) or update it, and return what ``count_usage()`` needs.

    ``source`` is a FROM clause: the row is inserted only if the clause returns a row.
    """
    invocations, returned = table(schema, Invocation), f"RETURNING {usage_columns('i')}"
    if not is_first:
        return f"UPDATE {invocations} i SET {assignments(run, 'run')} WHERE run_id = %(key)s {returned}"
    updates = upsert([name for name in run if name != "id"], "run_id")
    values = f"SELECT {placeholders(run, 'run')} {source}"
    return (
        f"INSERT INTO {invocations} AS i ({column_list(run)}) {values} {updates} {returned}, i.xmax = 0 AS is_new"
    )
