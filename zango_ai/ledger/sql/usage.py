"""Keep the usage roll-up: the part of a statement that changes a run's row and counts the change.

A run is counted while its status is one of ``Invocation.ENDED``. The statement subtracts what the old version of
the row has counted, and adds what the new one counts. So it makes no difference how a run ends, whether an ended
run continues or its totals are corrected, and how often the statement is executed.
"""

from __future__ import annotations

from ...database.sql import column_list, in_list, table
from ...models import Invocation, UsageRollup

_SUMS = ("input_tokens", "output_tokens", "cache_creation_tokens", "cache_read_tokens")
_TEXTS = ("agent_name", "provider_name", "model", "triggered_by", "status")
KEY = ("day", "hour", "agent_id", "provider_id", *_TEXTS)
FIGURES = ("runs", "unpriced_runs", "latency_ms", "cost_usd", *_SUMS)
ALL_TIME = f"'{UsageRollup.ALL_TIME}'"

_ROW = ("id", *_TEXTS, "agent_id", "provider_id", "finished_on", "finished_at", "latency_ms", "cost_usd", *_SUMS)


def usage_columns(alias: str) -> str:
    """The columns of a run's row that ``count_usage()`` needs, of the table with this alias."""
    return ", ".join(f"{alias}.{name}" for name in _ROW)


IS_CANCELLED = "i.cancel_requested_at IS NOT NULL AS is_cancelled"
"""A column: whether somebody has cancelled the run ``i``."""


def lock_run(schema: str) -> str:
    """Lock the run with the ``run_id`` ``key``, and read what it has counted, and ``is_cancelled``."""
    columns = f"{usage_columns('i')}, {IS_CANCELLED}"
    return f"SELECT {columns} FROM {table(schema, Invocation)} i WHERE i.run_id = %(key)s FOR UPDATE"


END_COLUMNS = "resume_state = '', finished_at = %(now)s, finished_on = %(today)s, updated_at = %(now)s"
"""What every statement sets that ends runs. ``time_zones.now_and_today()`` has the parameters."""


def end_runs(schema: str, update: str) -> str:
    """The CTE ``run``: execute ``update``, which ends runs that have not ended, and count them.

    ``update`` is an UPDATE of the runs' table ``i`` without RETURNING.
    """
    return f"run AS ({update} RETURNING {usage_columns('i')}, i.run_id),{count_usage(schema, after='run')}"


def count_usage(schema: str, *, before: str | None = None, after: str) -> str:
    """Count the change from the rows of the CTE ``before`` to those of ``after``, both with ``usage_columns()``.

    Without ``before``, the runs had not ended. ``after`` may have a WHERE clause. Where the statement also locks
    budget months, the clause must read their row count: the roll-up is locked last, and in the order of its key.
    """
    columns = column_list(_ROW)
    changes = f"SELECT 1 AS sign, {columns} FROM {after}"
    if before is not None:
        changes += f" UNION ALL SELECT -1, {columns} FROM {before} WHERE id IN (SELECT id FROM {after})"
    return f"counted_usage AS ({add_to_rollup(schema, with_all_time(sum_usage(changes)))})"


def add_to_rollup(schema: str, rows: str) -> str:
    """Add ``rows``, a query for ``KEY`` and ``FIGURES``, to those of the roll-up."""
    key, figures = column_list(KEY), column_list(FIGURES)
    sums = ", ".join(f"{name} = u.{name} + EXCLUDED.{name}" for name in FIGURES)
    return f"""
    INSERT INTO {table(schema, UsageRollup)} AS u ({key}, {figures}, created_at, updated_at)
    SELECT *, now(), now() FROM ({rows}) new_rows ORDER BY {key}
    ON CONFLICT ({key}) DO UPDATE SET {sums}, updated_at = EXCLUDED.updated_at
"""


def with_all_time(rows: str) -> str:
    """``rows``, a query for ``KEY`` and ``FIGURES``, and for each of its owners the sum of its rows."""
    owners, sums = column_list(KEY[2:]), ", ".join(f"sum({name}) AS {name}" for name in FIGURES)
    return f"""
SELECT CASE WHEN grouping(day) = 1 THEN {ALL_TIME}::date ELSE day END AS day,
    CASE WHEN grouping(hour) = 1 THEN {ALL_TIME}::timestamp AT TIME ZONE 'UTC' ELSE hour END AS hour,
    {owners}, {sums}
FROM ({rows}) hours
GROUP BY GROUPING SETS ((day, hour, {owners}), ({owners}))"""


def sum_usage(runs: str) -> str:
    """The rows of the roll-up for ``runs``, a query for ``usage_columns()`` with a ``sign`` of 1 or -1."""
    return f"""
SELECT finished_on AS day, date_trunc('hour', finished_at, 'UTC') AS hour, coalesce(agent_id, 0) AS agent_id,
    coalesce(provider_id, 0) AS provider_id, {column_list(_TEXTS)},
    sum(sign) AS runs, coalesce(sum(sign) FILTER (WHERE cost_usd IS NULL), 0) AS unpriced_runs,
    sum(sign * coalesce(latency_ms, 0)) AS latency_ms, sum(sign * coalesce(cost_usd, 0)) AS cost_usd,
    {", ".join(f"sum(sign * {name}) AS {name}" for name in _SUMS)}
FROM ({runs}) runs
WHERE status IN {in_list(Invocation.ENDED)} AND finished_on IS NOT NULL
GROUP BY 1, 2, 3, 4, {column_list(_TEXTS)}"""
