"""The upkeep of the usage roll-up: merge past hours, compare it with the log, and correct it.

A correction adds the difference between log and roll-up, both read by the same statement. It therefore needs no
lock, and runs that end at the same time are counted once.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from ..database import writer
from ..database.sql import column_list, table
from ..models import Invocation, UsageRollup
from . import clock, time_zones
from .sql.usage import ALL_TIME, FIGURES, KEY, add_to_rollup, sum_usage, usage_columns, with_all_time

KEEP_HOURS_DAYS = 2
"""Hours are kept for today and so many days before it. They serve the figures of the last 24 hours."""

_OTHERS = [name for name in KEY if name != "hour"]
_MERGED_HOUR = "day::timestamp AT TIME ZONE 'UTC'"


def parameters(schema: str) -> dict[str, Any]:
    """The parameters of ``checks()``."""
    today = time_zones.date_of(clock.now(), schema)
    return {"merged_before": today - timedelta(days=KEEP_HOURS_DAYS)}


def merge_hours(schema: str) -> int:
    """Merge the hours of past days into one row for each day, and return how many rows were merged."""
    rows = f"SELECT {_key(_MERGED_HOUR)}, {_SUMS} FROM merged GROUP BY {column_list(_OTHERS)}"
    sql = f"""
WITH merged AS (
    DELETE FROM {table(schema, UsageRollup)}
    WHERE day < %(merged_before)s AND hour <> {_MERGED_HOUR} RETURNING *
),
days AS ({add_to_rollup(schema, rows)})
SELECT count(*) FROM merged
"""
    ((count,),) = writer.execute(sql, parameters(schema))
    return int(count)


def correct(schema: str) -> int:
    """Make the roll-up match the log, and return how many of its rows did not.

    What it counts of runs whose rows were deleted is kept.
    """
    return sum(_add(schema, differences) for differences in (_hour_differences(schema), _total_differences(schema)))


def _add(schema: str, differences: str) -> int:
    changes = ", ".join(f"due_{name} - {name}" for name in FIGURES)
    rows = f"SELECT {column_list(KEY)}, {changes} FROM ({differences}) d"
    sql = f"WITH corrected AS ({add_to_rollup(schema, rows)} RETURNING 1) SELECT count(*) FROM corrected"
    ((count,),) = writer.execute(sql, parameters(schema))
    return int(count)


def checks(schema: str) -> list[tuple[str, tuple[str, ...]]]:
    """Queries for the wrong rows of the roll-up, each with the columns that it compares with their due value."""
    pairs = ", ".join(f"{name}, due_{name}" for name in FIGURES)
    owner = "concat_ws(', ', agent_name, provider_name, model, triggered_by, status)"
    places = {
        f"'usage in the hour from ' || hour || ' of ' || {owner}": _hour_differences(schema),
        f"'total usage of ' || {owner}": _total_differences(schema),
    }
    return [
        (f"SELECT {place}, {pairs} FROM ({rows}) d ORDER BY {column_list(KEY)}", FIGURES)
        for place, rows in places.items()
    ]


def _hour_differences(schema: str) -> str:
    """Each hour beside the sum of its runs. It keeps the sums of deleted runs."""
    counted = f"SELECT {_key(_HOUR)}, {_SUMS} FROM {table(schema, UsageRollup)} WHERE {_IS_HOUR} GROUP BY {_GROUPS}"
    runs = sum_usage(f"SELECT 1 AS sign, {usage_columns('i')} FROM {table(schema, Invocation)} i")
    logged = f"SELECT {_key(_HOUR)}, {_SUMS} FROM ({runs}) r GROUP BY {_GROUPS}"
    kept = "CASE WHEN coalesce(u.runs, 0) > coalesce(due.runs, 0) THEN greatest(u.{0}, due.{0}) ELSE {1} END"
    return _differences(counted, logged, kept)


def _total_differences(schema: str) -> str:
    """Each total beside the sum of its hours."""
    rollup = table(schema, UsageRollup)
    totals = f"SELECT {column_list(KEY)}, {column_list(FIGURES)} FROM {rollup} WHERE NOT {_IS_HOUR}"
    hours = f"SELECT {column_list(KEY)}, {column_list(FIGURES)} FROM {rollup} WHERE {_IS_HOUR}"
    return _differences(totals, f"SELECT * FROM ({with_all_time(hours)}) sums WHERE NOT {_IS_HOUR}", "{1}")


def _differences(counted: str, due: str, rule: str) -> str:
    """The rows of both queries that differ: the key, and each figure beside the one that is due.

    ``rule`` is the figure that is due, a format of the figure's name and its sum in ``due``.
    """
    figures = ", ".join(
        f"coalesce(u.{name}, 0) AS {name}, {rule.format(name, f'coalesce(due.{name}, 0)')} AS due_{name}"
        for name in FIGURES
    )
    return f"""
SELECT * FROM (
    SELECT {column_list(KEY)}, {figures} FROM ({counted}) u FULL JOIN ({due}) due USING ({column_list(KEY)})
) both_sides WHERE {" OR ".join(f"{name} <> due_{name}" for name in FIGURES)}
"""


def _key(hour: str) -> str:
    """The columns of the key, with ``hour`` as an expression."""
    return ", ".join(f"{hour} AS hour" if name == "hour" else name for name in KEY)


_HOUR = f"CASE WHEN day < %(merged_before)s THEN {_MERGED_HOUR} ELSE hour END"
_GROUPS = f"{_HOUR}, {column_list(_OTHERS)}"
_SUMS = ", ".join(f"sum({name}) AS {name}" for name in FIGURES)
_IS_HOUR = f"(day <> {ALL_TIME})"
