"""One call to a provider, in two statements: reserved and written down before it, settled after it.

Each statement does everything or nothing, and takes its locks in the same order (limits per minute by key, then
months by id), for as long as it executes: calls of other threads and machines wait for no provider. Executed a
second time, because the connection was lost before the first could be confirmed, it finds its work done and does
nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from ..models import Invocation, InvocationRound, Pace, Spend
from . import writer
from .reservations import Owner, Reservation
from .writer import names, params, remember, table, upsert

_TOLERANCE_S = 0.001
"""An allowance of n is n shares of a minute, each rounded to microseconds."""


@dataclass(frozen=True, slots=True)
class Begun:
    """What became of a reservation: granted, or why it was not."""

    invocation_id: int
    is_granted: bool
    over: Owner | None
    """Whose budget does not allow it."""
    spent_usd: Decimal | None
    held_usd: Decimal | None
    """Of that budget: what is spent, and what other calls hold."""
    wait_s: float | None
    """After how many seconds the limits per minute allow it; None where they do already."""
    busiest: str | None
    """The key of the limit that makes it wait longest."""


@dataclass(frozen=True, slots=True)
class Crossing:
    """A budget whose spending has just reached the threshold of its alert."""

    owner: Owner
    spent_usd: Decimal


@dataclass(frozen=True, slots=True)
class Settled:
    is_found: bool
    """Whether there is such a round: one whose beginning was interrupted may have none."""
    crossings: list[Crossing]
    """The alerts that are due now, and due from nobody else."""


def begin(
    schema: str,
    key: UUID,
    run: Mapping[str, Any],
    round_: Mapping[str, Any],
    reservation: Reservation,
    *,
    is_first: bool,
) -> Begun:
    """Reserve, and write the round's row and what has become known of the run with the ``run_id`` ``key``.

    Of the first round the run's own row is made. Where the reservation is not granted, that is written all the
    same.
    """
    values = {
        **round_,
        "reserved_usd": reservation.usd,
        "provider_id": reservation.provider.owner_id,
        "provider_month": reservation.provider.month_start,
        "agent_month": reservation.agent.month_start,
    }
    arguments = {"key": key, **params(run, "run"), **params(values, "round"), **_arguments(reservation)}
    while True:
        ((run_id, round_id, is_complete, *verdict),) = writer.execute(
            _beginning(schema, run, values, is_first), arguments
        )
        if is_complete:
            break
        _open_counters(schema, reservation, round_["created_at"])
    known = {"id": run_id, **run} if is_first else run
    again = {**arguments, **params(known, "run"), "round_id": round_id}
    if round_id is None:
        remember(_run_row(schema, known, is_first), again)
    else:
        remember(_beginning(schema, known, {"id": round_id, **values}, is_first), again)
    return Begun(run_id, round_id is not None, *verdict)


def write_run(schema: str, key: UUID, run: Mapping[str, Any], *, is_new: bool) -> int:
    """Write what is known of a run, outside of a round; the row's primary key."""
    sql, arguments = _run_row(schema, run, is_new), {"key": key, **params(run, "run")}
    ((run_id,),) = writer.execute(sql, arguments, lost=(sql, arguments))
    known = {"id": run_id, **run} if is_new else run
    remember(_run_row(schema, known, is_new), {**arguments, **params(known, "run")})
    return int(run_id)


def _arguments(reservation: Reservation) -> dict[str, Any]:
    accounts = (reservation.provider, reservation.agent)
    return {
        "owners": [account.owner for account in accounts],
        "owner_ids": [account.owner_id for account in accounts],
        "months": [account.month_start for account in accounts],
        "budgets": [account.budget.limit_usd for account in accounts],
        "usd": reservation.usd,
        "is_priced": reservation.is_priced,
        "keys": [toll.key for toll in reservation.tolls],
        "tolls": [toll.taken_s for toll in reservation.tolls],
        "tolls_count": len(reservation.tolls),
        "tolerance": _TOLERANCE_S,
    }


def _run_row(schema: str, run: Mapping[str, Any], is_first: bool, source: str = "") -> str:
    """``source`` gives a row for the run to be written, and none for it not to be."""
    invocations = table(schema, Invocation)
    if is_first:
        changed = [name for name in run if name != "id"]
        selected = f"SELECT {writer.marks(run, 'run')} {source}"
        return f"INSERT INTO {invocations} ({names(run)}) {selected} {upsert(changed, 'run_id')} RETURNING id"
    return f"UPDATE {invocations} SET {writer.assignments(run, 'run')} WHERE run_id = %(key)s RETURNING id"


def _beginning(schema: str, run: Mapping[str, Any], round_: Mapping[str, Any], is_first: bool) -> str:
    return f"""
WITH paces AS (
    SELECT p.id, p.key, p.arrival_at, w.taken_s
    FROM {table(schema, Pace)} p
    JOIN unnest(%(keys)s::text[], %(tolls)s::float8[]) AS w(key, taken_s) ON w.key = p.key
    ORDER BY p.key FOR UPDATE OF p
),
paced AS (
    SELECT id, key, greatest(arrival_at, clock_timestamp()) + make_interval(secs => taken_s) AS arrival_at
    FROM paces
),
waits AS (
    SELECT key, extract(epoch FROM arrival_at - clock_timestamp())::float8 - 60 AS wait_s FROM paced
),
months AS (
    SELECT s.id, s.owner, s.spent_usd, s.reserved_usd, w.limit_usd
    FROM {table(schema, Spend)} s
    JOIN unnest(%(owners)s::text[], %(owner_ids)s::bigint[], %(months)s::date[], %(budgets)s::numeric[])
        AS w(owner, owner_id, month_start, limit_usd)
        ON w.owner = s.owner AND w.owner_id = s.owner_id AND w.month_start = s.month_start
    WHERE (SELECT count(*) FROM paces) >= 0  -- so that the limits per minute are locked first
    ORDER BY s.id FOR UPDATE OF s
),
overdrawn AS (
    SELECT owner, spent_usd, reserved_usd FROM months
    WHERE spent_usd + reserved_usd + %(usd)s > limit_usd
        OR (NOT %(is_priced)s AND spent_usd + reserved_usd >= limit_usd)
    ORDER BY owner DESC LIMIT 1
),
verdict AS (
    SELECT
        (SELECT count(*) FROM paces) = %(tolls_count)s AND (SELECT count(*) FROM months) = 2 AS is_complete,
        (SELECT owner FROM overdrawn) AS over,
        (SELECT spent_usd FROM overdrawn) AS spent_usd,
        (SELECT reserved_usd FROM overdrawn) AS held_usd,
        (SELECT max(wait_s) FROM waits WHERE wait_s > %(tolerance)s) AS wait_s,
        (SELECT key FROM waits WHERE wait_s > %(tolerance)s ORDER BY wait_s DESC LIMIT 1) AS busiest
),
run AS (
    {_run_row(schema, run, is_first, "FROM verdict WHERE is_complete")}
),
round AS (
    INSERT INTO {table(schema, InvocationRound)} (invocation_id, {names(round_)})
    SELECT run.id, {writer.marks(round_, "round")} FROM run, verdict
    WHERE verdict.is_complete AND verdict.over IS NULL AND verdict.wait_s IS NULL
    ON CONFLICT (invocation_id, number) DO NOTHING RETURNING id
),
held AS (
    UPDATE {table(schema, Spend)} s SET reserved_usd = s.reserved_usd + %(usd)s
    FROM months, round WHERE s.id = months.id
),
taken AS (
    UPDATE {table(schema, Pace)} p SET arrival_at = paced.arrival_at
    FROM paced, round WHERE p.id = paced.id
)
SELECT run.id, coalesce((SELECT id FROM round), {_already(schema)}), verdict.*
FROM verdict LEFT JOIN run ON true
"""


def _already(schema: str) -> str:
    """The round's row where the statement was executed before."""
    return (
        f"(SELECT r.id FROM {table(schema, InvocationRound)} r "
        "WHERE r.invocation_id = (SELECT id FROM run) AND r.number = %(round_number)s)"
    )


def _open_counters(schema: str, reservation: Reservation, now: datetime) -> None:
    """Rows for months and limits that are used for the first time."""
    accounts = (reservation.provider, reservation.agent)
    months = f"""
INSERT INTO {table(schema, Spend)} (owner, owner_id, owner_name, month_start, created_at, updated_at)
SELECT w.*, %(now)s, %(now)s
FROM unnest(%(owners)s::text[], %(owner_ids)s::bigint[], %(names)s::text[], %(months)s::date[])
    AS w(owner, owner_id, owner_name, month_start)
ORDER BY w.owner, w.owner_id ON CONFLICT DO NOTHING
"""
    paces = f"""
INSERT INTO {table(schema, Pace)} (key, created_at, updated_at)
SELECT w.key, %(now)s, %(now)s FROM unnest(%(keys)s::text[]) AS w(key)
ORDER BY w.key ON CONFLICT DO NOTHING
"""
    arguments = {**_arguments(reservation), "names": [account.name for account in accounts], "now": now}
    for sql in (months, paces):
        writer.execute(sql, arguments)
        remember(sql, arguments)


@dataclass(frozen=True, slots=True)
class Settlement:
    """What a call has used, ready to be written; writing it again changes nothing."""

    key: UUID
    """The run's ``run_id``."""
    number: int
    round: Mapping[str, Any]
    """Columns of the round's row."""
    run: Mapping[str, Any]
    """Columns of the run's row: its sums so far."""
    charged_usd: Decimal
    is_unknown: bool
    reservation: Reservation
    given_back: Mapping[str, float]
    """Seconds by which to move the limits per minute, by key; negative: given back."""


def settle(schema: str, settlement: Settlement) -> Settled:
    """Write what a call has used."""
    reservation = settlement.reservation
    round_ = {**settlement.round, "charged_usd": settlement.charged_usd, "reserved_usd": Decimal(0)}
    moves = sorted(settlement.given_back.items())
    arguments = {
        **params(round_, "round"),
        **params(settlement.run, "run"),
        "key": settlement.key,
        "number": settlement.number,
        "charged": settlement.charged_usd,
        "unknown": int(settlement.is_unknown),
        "provider_alert": reservation.provider.alert_at_usd,
        "agent_alert": reservation.agent.alert_at_usd,
        "now": settlement.round["updated_at"],
        "keys": [key for key, _ in moves],
        "moves": [seconds for _, seconds in moves],
    }
    sql = _settling(schema, settlement.run, round_)
    found = writer.execute(sql, arguments)
    remember(sql, arguments)
    return Settled(
        is_found=bool(found),
        crossings=[Crossing(owner, spent_usd) for owner, spent_usd in found if owner is not None],
    )


def _settling(schema: str, run: Mapping[str, Any], round_: Mapping[str, Any]) -> str:
    return f"""
WITH was AS (
    SELECT r.id, (r.status = 'abandoned')::int AS was_unknown, r.reserved_usd,
        r.provider_id, r.provider_month, i.agent_id, r.agent_month
    FROM {table(schema, InvocationRound)} r JOIN {table(schema, Invocation)} i ON i.id = r.invocation_id
    WHERE i.run_id = %(key)s AND r.number = %(number)s AND r.status IN ('running', 'abandoned')
    FOR UPDATE OF r
),
ended AS (
    UPDATE {table(schema, InvocationRound)} r SET {writer.assignments(round_, "round")}
    FROM was WHERE r.id = was.id RETURNING r.id
),
run AS (
    UPDATE {table(schema, Invocation)} SET {writer.assignments(run, "run")} WHERE run_id = %(key)s
),
paces AS (
    SELECT p.id, p.arrival_at, w.seconds FROM {table(schema, Pace)} p
    JOIN unnest(%(keys)s::text[], %(moves)s::float8[]) AS w(key, seconds) ON w.key = p.key
    WHERE (SELECT count(*) FROM ended) = 1
    ORDER BY p.key FOR UPDATE OF p
),
paced AS (
    UPDATE {table(schema, Pace)} p
    SET arrival_at = make_interval(secs => paces.seconds)
        + CASE WHEN paces.seconds > 0 THEN greatest(p.arrival_at, clock_timestamp()) ELSE p.arrival_at END
    FROM paces WHERE p.id = paces.id RETURNING p.id
),
months AS (
    SELECT s.id, s.alerted_at, was.reserved_usd AS given_back, was.was_unknown
    FROM {table(schema, Spend)} s
    JOIN was ON (s.owner = 'provider' AND s.owner_id = was.provider_id AND s.month_start = was.provider_month)
        OR (s.owner = 'agent' AND s.owner_id = was.agent_id AND s.month_start = was.agent_month)
    WHERE (SELECT count(*) FROM paced) >= 0
    ORDER BY s.id FOR UPDATE OF s
),
counted AS (
    UPDATE {table(schema, Spend)} s
    SET spent_usd = s.spent_usd + %(charged)s,
        reserved_usd = s.reserved_usd - months.given_back,
        unknown_calls = s.unknown_calls + %(unknown)s - months.was_unknown,
        alerted_at = CASE WHEN s.alerted_at IS NULL AND s.spent_usd + %(charged)s >= CASE s.owner
            WHEN 'provider' THEN %(provider_alert)s::numeric ELSE %(agent_alert)s::numeric END
            THEN %(now)s ELSE s.alerted_at END,
        updated_at = %(now)s
    FROM months WHERE s.id = months.id
    RETURNING s.owner, s.spent_usd, months.alerted_at IS NULL AND s.alerted_at IS NOT NULL AS is_alert
)
SELECT counted.owner, counted.spent_usd
FROM {table(schema, InvocationRound)} r JOIN {table(schema, Invocation)} i ON i.id = r.invocation_id
LEFT JOIN counted ON counted.is_alert
WHERE i.run_id = %(key)s AND r.number = %(number)s
"""
