"""Check that the ledger adds up.

Each run and each budget month must equal the sum of its rounds, the usage roll-up the sum of its runs, and the
figures of tools the sum of their calls.

Each check is one statement, so it reads one snapshot. The ledger writes what belongs together in one statement as
well, so every snapshot adds up, also while runs are in progress.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from django.db import Error

from ..database import writer
from ..database.sql import in_list, table
from ..models import Invocation, InvocationRound, Spend
from . import usage_upkeep
from .run_columns import TOKEN_COLUMNS
from .sql import tool_usage

logger = logging.getLogger("zango_ai.maintenance")

Status = Invocation.Status
_UNFINISHED = in_list([Status.RUNNING, Status.QUEUED, Status.AWAITING_APPROVAL])


@dataclass(frozen=True, slots=True)
class Drift:
    """A figure that differs from the sum that it should be."""

    where: str
    column: str
    actual: Any
    expected: Any

    def __str__(self) -> str:
        return f"{self.where}: {self.column} is {_as_text(self.actual)} and should be {_as_text(self.expected)}"


@dataclass(frozen=True, slots=True)
class DeletedCalls:
    """Calls that a budget month counts, but whose rounds were deleted."""

    where: str
    count: int
    total: int

    def __str__(self) -> str:
        deleted = f"{self.count} of {self.total} calls were deleted from the log"
        return f"{self.where}: {deleted}; the month still counts them"


def find_drift(schema: str) -> Iterator[Drift]:
    """Everything in the tenant's ledger that does not add up. Raises the last error after it has run all checks."""
    error: Error | None = None
    for sql, columns in (
        _check_rounds(schema),
        _check_runs(schema),
        _check_months(schema),
        *usage_upkeep.checks(schema),
        (tool_usage.check_calls(schema), tool_usage.FIGURES),
    ):
        try:
            rows = writer.query(sql, usage_upkeep.parameters(schema))
        except Error as exc:
            logger.exception("Could not check the ledger of schema %s", schema)
            error, rows = exc, []
        for where, *figures in rows:
            checks = zip(columns, figures[::2], figures[1::2], strict=True)
            yield from (Drift(where, name, actual, due) for name, actual, due in checks if actual != due)
    if error is not None:
        raise error


def find_deleted(schema: str) -> Iterator[DeletedCalls]:
    """The budget months with deleted calls. The months still count their cost, so this is no drift."""
    sql = f"SELECT place, calls - rows, calls FROM ({_months_and_rounds(schema)}) m WHERE rows < calls ORDER BY 1"
    yield from (DeletedCalls(*row) for row in writer.query(sql, {}))


def _check_rounds(schema: str) -> tuple[str, tuple[str, ...]]:
    """A round that has ended reserves nothing and charges its cost. A finished run has no running round."""
    is_running = f"r.status = '{Status.RUNNING}'"
    is_open = f"{is_running} AND i.status IN {_UNFINISHED}"
    sql = f"""
SELECT 'round ' || r.number || ' of invocation ' || r.invocation_id,
    r.status, CASE WHEN {is_running} AND NOT ({is_open}) THEN 'over' ELSE r.status END,
    r.reserved_usd, CASE WHEN {is_open} THEN r.reserved_usd ELSE 0 END,
    r.charged_usd, CASE WHEN {is_running} THEN 0 ELSE coalesce(r.cost_usd, r.charged_usd) END
FROM {table(schema, InvocationRound)} r JOIN {table(schema, Invocation)} i ON i.id = r.invocation_id
WHERE (NOT {is_running} AND (r.reserved_usd <> 0 OR r.charged_usd <> r.cost_usd))
    OR ({is_running} AND (r.charged_usd <> 0 OR NOT ({is_open})))
ORDER BY r.id
"""
    return sql, ("status", "reserved_usd", "charged_usd")


def _check_runs(schema: str) -> tuple[str, tuple[str, ...]]:
    """A run is the sum of its rounds. If the cost of one is unknown, so is the run's."""
    is_running = f"i.status = '{Status.RUNNING}'"
    cost_usd = "CASE WHEN coalesce(r.unknown, 0) = 0 THEN coalesce(r.cost_usd, 0) END"
    tokens = "".join(f", i.{name}, coalesce(r.{name}, 0)" for name in TOKEN_COLUMNS)
    differ = "".join(f" OR i.{name} <> coalesce(r.{name}, 0)" for name in TOKEN_COLUMNS)
    sums = "".join(f", sum({name}) AS {name}" for name in TOKEN_COLUMNS)
    sql = f"""
SELECT 'invocation ' || i.id,
    i.rounds_count, CASE WHEN {is_running} THEN i.rounds_count ELSE coalesce(r.rounds, 0) END,
    i.cost_usd, {cost_usd}{tokens}
FROM {table(schema, Invocation)} i
LEFT JOIN (
    SELECT invocation_id, count(*) AS rounds, sum(cost_usd) AS cost_usd{sums}, {_count_unknown()} AS unknown
    FROM {table(schema, InvocationRound)} GROUP BY invocation_id
) r ON r.invocation_id = i.id
WHERE (i.rounds_count <> coalesce(r.rounds, 0) AND NOT {is_running})
    OR i.cost_usd IS DISTINCT FROM {cost_usd}{differ}
ORDER BY i.id
"""
    return sql, ("rounds_count", "cost_usd", *TOKEN_COLUMNS)


def _check_months(schema: str) -> tuple[str, tuple[str, ...]]:
    """A month is the sum of the rounds that were reserved in it. It keeps the sums of deleted rounds."""
    sql = f"""
SELECT place, spent, due_spent, reserved, due_reserved, unknown, due_unknown, calls, greatest(calls, rows)
FROM (
    SELECT m.*,
        CASE WHEN rows < calls THEN greatest(spent, charged) ELSE charged END AS due_spent,
        CASE WHEN rows < calls THEN greatest(unknown, unknown_rows) ELSE unknown_rows END AS due_unknown
    FROM ({_months_and_rounds(schema)}) m
) m
WHERE spent <> due_spent OR reserved <> due_reserved OR unknown <> due_unknown OR calls < rows
ORDER BY 1
"""
    return sql, ("spent_usd", "reserved_usd", "unknown_calls", "calls")


def _months_and_rounds(schema: str) -> str:
    """Each budget month beside the sums of its rounds."""
    rounds = table(schema, InvocationRound)
    return f"""
SELECT coalesce(s.owner, r.owner) || ' ' || coalesce('''' || s.owner_name || '''', r.owner_id::text, 'none')
        || ', month from ' || coalesce(s.month_start::text, r.month_start::text, 'none') AS place,
    coalesce(s.spent_usd + s.written_off_usd, 0) AS spent, coalesce(r.charged, 0) AS charged,
    coalesce(s.reserved_usd, 0) AS reserved, coalesce(r.reserved, 0) AS due_reserved,
    coalesce(s.unknown_calls, 0) AS unknown, coalesce(r.unknown, 0) AS unknown_rows,
    coalesce(s.calls, 0) AS calls, coalesce(r.rows, 0) AS rows
FROM {table(schema, Spend)} s
FULL JOIN (
    SELECT owner, owner_id, month_start, sum(charged_usd) AS charged, sum(reserved_usd) AS reserved,
        {_count_unknown()} AS unknown, count(*) AS rows
    FROM (
        SELECT '{Spend.Owner.PROVIDER}' AS owner, r.provider_id AS owner_id, r.provider_month AS month_start,
            r.charged_usd, r.reserved_usd, r.cost_usd, r.status
        FROM {rounds} r
        UNION ALL
        SELECT '{Spend.Owner.AGENT}', i.agent_id, r.agent_month, r.charged_usd, r.reserved_usd, r.cost_usd, r.status
        FROM {rounds} r JOIN {table(schema, Invocation)} i ON i.id = r.invocation_id
        WHERE i.agent_id IS NOT NULL OR r.agent_month IS NOT NULL
    ) calls
    GROUP BY owner, owner_id, month_start
) r ON r.owner = s.owner AND r.owner_id = s.owner_id AND r.month_start = s.month_start
"""


def _count_unknown() -> str:
    return f"count(*) FILTER (WHERE cost_usd IS NULL AND status <> '{Status.RUNNING}')"


def _as_text(figure: Any) -> str:
    return "unknown" if figure is None else f"{figure:f}" if hasattr(figure, "as_tuple") else str(figure)
