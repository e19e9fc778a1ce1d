"""Prove that the ledger adds up: rounds, runs and the months of budgets tell the same sums.

Each check is one statement, so it sees one moment; and what belongs together the ledger writes in one statement, so
each moment adds up, also while runs are under way.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from django.db import Error

from ..database import writer
from ..database.writer import table
from ..models import Invocation, InvocationRound, Spend

logger = logging.getLogger("zango_ai.maintenance")

TOKENS = ("input_tokens", "output_tokens", "cache_creation_tokens", "cache_read_tokens")


@dataclass(frozen=True, slots=True)
class Drift:
    """A figure that is not the sum it should be."""

    where: str
    column: str
    found: Any
    expected: Any

    def __str__(self) -> str:
        return f"{self.where}: {self.column} is {_shown(self.found)} and should be {_shown(self.expected)}"


@dataclass(frozen=True, slots=True)
class Deleted:
    """Calls that a month counts, and whose rows are gone."""

    where: str
    count: int
    of: int

    def __str__(self) -> str:
        return (
            f"{self.where}: {self.count} of {self.of} calls were deleted from the log; the month still counts them"
        )


def find_drift(schema: str) -> Iterator[Drift]:
    """Everything in the tenant's ledger that does not add up. Raises the last error, after all checks were made."""
    trouble: Error | None = None
    for sql, columns in (_rounds(schema), _runs(schema), _months(schema)):
        try:
            rows = writer.execute(sql, {})
        except Error as exc:
            logger.exception("A check of the ledger of schema %s has failed", schema)
            trouble, rows = exc, []
        for where, *figures in rows:
            pairs = zip(columns, figures[::2], figures[1::2], strict=True)
            yield from (Drift(where, name, found, due) for name, found, due in pairs if found != due)
    if trouble is not None:
        raise trouble


def _rounds(schema: str) -> tuple[str, tuple[str, ...]]:
    """A call that is over holds nothing, and what it cost is what was charged. A run that is over has no other."""
    is_under_way = "r.status = 'running' AND i.status IN ('running', 'queued', 'awaiting_approval')"
    sql = f"""
SELECT 'round ' || r.number || ' of invocation ' || r.invocation_id,
    r.status, CASE WHEN r.status = 'running' AND NOT ({is_under_way}) THEN 'over' ELSE r.status END,
    r.reserved_usd, CASE WHEN {is_under_way} THEN r.reserved_usd ELSE 0 END,
    r.charged_usd, CASE WHEN r.status = 'running' THEN 0 ELSE coalesce(r.cost_usd, r.charged_usd) END
FROM {table(schema, InvocationRound)} r JOIN {table(schema, Invocation)} i ON i.id = r.invocation_id
WHERE (r.status <> 'running' AND (r.reserved_usd <> 0 OR r.charged_usd <> r.cost_usd))
    OR (r.status = 'running' AND (r.charged_usd <> 0 OR NOT ({is_under_way})))
ORDER BY r.id
"""
    return sql, ("status", "reserved_usd", "charged_usd")


def _runs(schema: str) -> tuple[str, tuple[str, ...]]:
    """A run is the sum of its calls. One whose cost is not known makes the sum unknown."""
    tokens = "".join(f", i.{name}, coalesce(r.{name}, 0)" for name in TOKENS)
    differ = "".join(f" OR i.{name} <> coalesce(r.{name}, 0)" for name in TOKENS)
    sums = "".join(f", sum({name}) AS {name}" for name in TOKENS)
    sql = f"""
SELECT 'invocation ' || i.id,
    i.rounds_count, CASE WHEN i.status = 'running' THEN i.rounds_count ELSE coalesce(r.rounds, 0) END,
    i.cost_usd, CASE WHEN coalesce(r.unknown, 0) = 0 THEN coalesce(r.cost_usd, 0) END{tokens}
FROM {table(schema, Invocation)} i
LEFT JOIN (
    SELECT invocation_id, count(*) AS rounds, sum(cost_usd) AS cost_usd{sums},
        count(*) FILTER (WHERE cost_usd IS NULL AND status <> 'running') AS unknown
    FROM {table(schema, InvocationRound)} GROUP BY invocation_id
) r ON r.invocation_id = i.id
WHERE (i.rounds_count <> coalesce(r.rounds, 0) AND i.status <> 'running')
    OR i.cost_usd IS DISTINCT FROM CASE WHEN coalesce(r.unknown, 0) = 0 THEN coalesce(r.cost_usd, 0) END{differ}
ORDER BY i.id
"""
    return sql, ("rounds_count", "cost_usd", *TOKENS)


def find_deleted(schema: str) -> Iterator[Deleted]:
    """The months of which calls have been deleted from the log. Their money still counts, and is no drift."""
    sql = f"SELECT place, calls - rows, calls FROM ({_compared(schema)}) m WHERE rows < calls ORDER BY 1"
    yield from (Deleted(*row) for row in writer.execute(sql, {}))


def _months(schema: str) -> tuple[str, tuple[str, ...]]:
    """A month is the sum of the calls that were reserved in it; of deleted ones it has the sums, and more calls."""
    sql = f"""
SELECT place, spent, due_spent, reserved, due_reserved, unknown, due_unknown, calls, greatest(calls, rows)
FROM (
    SELECT m.*,
        CASE WHEN rows < calls THEN greatest(spent, charged) ELSE charged END AS due_spent,
        CASE WHEN rows < calls THEN greatest(unknown, unknown_rows) ELSE unknown_rows END AS due_unknown
    FROM ({_compared(schema)}) m
) m
WHERE spent <> due_spent OR reserved <> due_reserved OR unknown <> due_unknown OR calls < rows
ORDER BY 1
"""
    return sql, ("spent_usd", "reserved_usd", "unknown_calls", "calls")


def _compared(schema: str) -> str:
    """Each month as it is counted, beside the sums of its calls."""
    return f"""
SELECT coalesce(s.owner, r.owner) || ' ' || coalesce('''' || s.owner_name || '''', r.owner_id::text, 'none')
        || ', month from ' || coalesce(s.month_start::text, r.month_start::text, 'none') AS place,
    coalesce(s.spent_usd, 0) AS spent, coalesce(r.charged, 0) AS charged,
    coalesce(s.reserved_usd, 0) AS reserved, coalesce(r.reserved, 0) AS due_reserved,
    coalesce(s.unknown_calls, 0) AS unknown, coalesce(r.unknown, 0) AS unknown_rows,
    coalesce(s.calls, 0) AS calls, coalesce(r.rows, 0) AS rows
FROM {table(schema, Spend)} s
FULL JOIN (
    SELECT owner, owner_id, month_start, sum(charged_usd) AS charged, sum(reserved_usd) AS reserved,
        count(*) FILTER (WHERE cost_usd IS NULL AND status <> 'running') AS unknown, count(*) AS rows
    FROM (
        SELECT 'provider' AS owner, r.provider_id AS owner_id, r.provider_month AS month_start,
            r.charged_usd, r.reserved_usd, r.cost_usd, r.status
        FROM {table(schema, InvocationRound)} r
        UNION ALL
        SELECT 'agent', i.agent_id, r.agent_month, r.charged_usd, r.reserved_usd, r.cost_usd, r.status
        FROM {table(schema, InvocationRound)} r JOIN {table(schema, Invocation)} i ON i.id = r.invocation_id
    ) calls
    GROUP BY owner, owner_id, month_start
) r ON r.owner = s.owner AND r.owner_id = s.owner_id AND r.month_start = s.month_start
"""


def _shown(figure: Any) -> str:
    return "unknown" if figure is None else f"{figure:f}" if hasattr(figure, "as_tuple") else str(figure)
