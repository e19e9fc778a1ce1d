"""Write the run's row."""

from __future__ import annotations

from functools import lru_cache

from ...database.sql import assignments, column_list, placeholders, table, upsert
from ...models import Invocation

Columns = tuple[str, ...]
CACHE_SIZE = 1024


@lru_cache(CACHE_SIZE)
def write_run_row(schema: str, run: Columns, *, is_first: bool, source: str = "") -> str:
    """Insert the run's row (``is_first``) or update it.

    ``source`` is a FROM clause: the row is inserted only if the clause returns a row.
    """
    invocations = table(schema, Invocation)
    if is_first:
        updated = [name for name in run if name != "id"]
        values = f"SELECT {placeholders(run, 'run')} {source}"
        return f"INSERT INTO {invocations} ({column_list(run)}) {values} {upsert(updated, 'run_id')} RETURNING id"
    return f"UPDATE {invocations} SET {assignments(run, 'run')} WHERE run_id = %(key)s RETURNING id"
