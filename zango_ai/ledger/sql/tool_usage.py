"""Keep the figures of tools: the part of a statement that ends tool calls and counts them.

A call is counted when its status becomes a final one. That happens once, so repeating a statement counts nothing
twice. Calls of names that are no tool of the tenant are not counted: a model can invent any number of them.
"""

from __future__ import annotations

from ...database.sql import in_list, table
from ...models import Invocation, InvocationRound, Tool, ToolCall, ToolUsage

ENDED_COLUMNS = "c.tool_name, c.status, c.duration_ms"
"""What a statement must return of the calls ``c`` that it ends."""


def count_calls(schema: str, ended: str, *, after: str = "", unless: str = "FALSE") -> str:
    """The CTE that counts the rows of the CTE ``ended``, unless that condition is true.

    It waits until the CTE ``after`` has taken its locks.
    """
    is_after = f" AND (SELECT count(*) FROM {after}) >= 0" if after else ""
    return f"""
counted_calls AS (
    INSERT INTO {table(schema, ToolUsage)} AS u
        (tool_name, status, calls, timed_calls, duration_ms, created_at, updated_at)
    SELECT c.tool_name, c.status, count(*), count(c.duration_ms), coalesce(sum(c.duration_ms), 0), now(), now()
    FROM {ended} c JOIN {table(schema, Tool)} t ON t.name = c.tool_name
    WHERE NOT {unless}{is_after}
    GROUP BY c.tool_name, c.status ORDER BY c.tool_name, c.status
    ON CONFLICT (tool_name, status) DO UPDATE SET calls = u.calls + EXCLUDED.calls,
        timed_calls = u.timed_calls + EXCLUDED.timed_calls, duration_ms = u.duration_ms + EXCLUDED.duration_ms,
        updated_at = EXCLUDED.updated_at
)
"""


FIGURES = ("calls", "timed_calls", "duration_ms")


def check_calls(schema: str) -> str:
    """The wrong rows of the figures: where, and each figure beside what it should be.

    The figures keep the calls of runs that were deleted. The log keeps calls of a name that became a tool later.
    """
    pairs = ", ".join(f"{name}, due_{name}" for name in FIGURES)
    figures = ", ".join(
        f"coalesce(u.{name}, 0) AS {name}, CASE WHEN u.calls > coalesce(c.calls, 0)"
        f" THEN greatest(u.{name}, coalesce(c.{name}, 0)) ELSE coalesce(c.{name}, 0) END AS due_{name}"
        for name in FIGURES
    )
    return f"""
SELECT 'calls of ' || tool_name || ' with status ' || status, {pairs} FROM (
    SELECT tool_name, status, {figures} FROM {table(schema, ToolUsage)} u FULL JOIN (
        SELECT c.tool_name, c.status, count(*) AS calls, count(c.duration_ms) AS timed_calls,
            coalesce(sum(c.duration_ms), 0) AS duration_ms
        FROM {table(schema, ToolCall)} c
        JOIN {table(schema, Tool)} t ON t.name = c.tool_name AND t.created_at <= c.created_at
        JOIN {table(schema, InvocationRound)} r ON r.id = c.round_id
        JOIN {table(schema, Invocation)} i ON i.id = r.invocation_id
        WHERE c.status NOT IN {in_list(ToolCall.UNFINISHED)} AND i.replay_of_id IS NULL
        GROUP BY c.tool_name, c.status
    ) c USING (tool_name, status)
) both_sides
WHERE {" OR ".join(f"{name} <> due_{name}" for name in FIGURES)}
ORDER BY tool_name, status
"""
