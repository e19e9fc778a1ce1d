"""One call to a provider, in two statements: reserved and written down before it, settled after it.

Each statement does everything or nothing, and holds its locks for as long as it executes: calls of other threads
and machines wait for no provider. Executed a second time, because the connection was lost before the first could be
confirmed, it finds its work done and does nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.db import OperationalError

from ..database import writer
from ..database.writer import params, remember, table
from ..models import RateLimitState, Spend
from . import statements
from .reservations import Owner, Reservation

_MOST_OPENINGS = 5
"""Somebody may delete a counter between its opening and the look at it."""
TOLERANCE_S = 0.001
"""An allowance of n is n shares of a minute, each rounded to microseconds."""


@dataclass(frozen=True, slots=True)
class Begun:
    """What became of a reservation: granted, or why it was not."""

    invocation_id: int
    is_granted: bool
    disabled: Owner | None
    """Who has been disabled or deleted since the run began."""
    over: Owner | None
    """Whose budget does not allow it."""
    limit_usd: Decimal | None
    """That budget, as it is now."""
    spent_usd: Decimal | None
    held_usd: Decimal | None
    """Of that budget: what is spent, and what other calls hold."""
    wait_s: float | None
    """After how many seconds the limits per minute allow it; None where they do already."""
    busiest: str | None
    """The key of the limit that makes it wait longest."""
    at: datetime
    """When it was looked at, by the database's clock."""


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
    """The alerts that this call has made due, and no other."""


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
    form = {"is_first": is_first, "has_tolls": bool(reservation.tolls)}
    sql = statements.beginning(schema, tuple(run), tuple(values), **form)
    for _ in range(_MOST_OPENINGS):
        ((run_id, round_id, is_complete, *verdict),) = writer.execute(sql, arguments)
        if is_complete:
            break
        _open_counters(schema, reservation, round_["created_at"])
    else:
        raise OperationalError(f"The counters of the month in schema {schema!r} cannot be opened.")
    if writer.is_in_test_transaction():
        known = {"id": run_id, **run} if is_first else run
        again = {**arguments, **params(known, "run"), "round_id": round_id, "is_repeated": True}
        if round_id is None:
            remember(statements.run_row(schema, tuple(known), is_first=is_first), again)
        else:
            remember(statements.beginning(schema, tuple(known), ("id", *values), **form), again)
    return Begun(run_id, round_id is not None, *verdict)


def write_run(schema: str, key: UUID, run: Mapping[str, Any], *, is_new: bool) -> int:
    """Write what is known of a run, outside of a round; the row's primary key."""
    sql = statements.run_row(schema, tuple(run), is_first=is_new)
    arguments = {"key": key, **params(run, "run")}
    ((run_id,),) = writer.execute(sql, arguments, lost=(sql, arguments))
    known = {"id": run_id, **run} if is_new else run
    again = statements.run_row(schema, tuple(known), is_first=is_new)
    remember(again, {**arguments, **params(known, "run")})
    return int(run_id)


def _arguments(reservation: Reservation) -> dict[str, Any]:
    provider, agent = reservation.provider, reservation.agent
    sees_all = writer.is_in_test_transaction()
    arguments = {
        **_months(reservation),
        "provider_budget": provider.budget.limit_usd,
        "provider_xmin": None if sees_all else provider.xmin,
        "agent_budget": agent.budget.limit_usd,
        "agent_xmin": None if sees_all else agent.xmin,
        "is_repeated": False,
        "usd": reservation.usd,
        "is_priced": reservation.is_priced,
    }
    if not reservation.tolls:
        return arguments
    return {
        **arguments,
        "keys": [toll.key for toll in reservation.tolls],
        "tolls": [toll.taken_s for toll in reservation.tolls],
        "rates": [toll.per_minute for toll in reservation.tolls],
        "tolls_count": len(reservation.tolls),
        "tolerance": TOLERANCE_S,
    }


def _months(reservation: Reservation) -> dict[str, Any]:
    provider, agent = reservation.provider, reservation.agent
    return {
        "provider": provider.owner_id,
        "provider_month": provider.month_start,
        "agent": agent.owner_id,
        "agent_month": agent.month_start,
    }


def _open_counters(schema: str, reservation: Reservation, now: datetime) -> None:
    """Rows for months and limits that are used for the first time."""
    accounts = (reservation.provider, reservation.agent)
    tolls = reservation.tolls
    months = f"""
INSERT INTO {table(schema, Spend)} (owner, owner_id, owner_name, month_start, created_at, updated_at)
SELECT w.*, %(now)s, %(now)s
FROM unnest(%(owners)s::text[], %(owner_ids)s::bigint[], %(names)s::text[], %(months)s::date[])
    AS w(owner, owner_id, owner_name, month_start)
ORDER BY w.owner, w.owner_id ON CONFLICT DO NOTHING
"""
    arguments = {
        "owners": [account.owner for account in accounts],
        "owner_ids": [account.owner_id for account in accounts],
        "names": [account.name for account in accounts],
        "months": [account.month_start for account in accounts],
        "now": now,
    }
    writer.execute(months, arguments)
    remember(months, arguments)
    if tolls:
        open_paces(schema, [toll.key for toll in tolls], [toll.per_minute for toll in tolls], now)


def open_paces(schema: str, keys: Sequence[str], rates: Sequence[int], now: datetime) -> None:
    """Rows for limits that are used for the first time."""
    sql = f"""
INSERT INTO {table(schema, RateLimitState)} (key, per_minute, created_at, updated_at)
SELECT w.key, w.per_minute, %(now)s, %(now)s
FROM unnest(%(keys)s::text[], %(rates)s::int[]) AS w(key, per_minute)
ORDER BY w.key ON CONFLICT DO NOTHING
"""
    arguments = {"keys": list(keys), "rates": list(rates), "now": now}
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
    moves: Mapping[str, float]
    """Seconds by which to move the limits per minute, by key; negative: given back."""
    paced_at: datetime | None
    """When the limits were taken, by the database's clock; None where that is not known."""


def settle(schema: str, settlement: Settlement, end: Mapping[str, Any] | None = None) -> Settled:
    """Write what a call has used; with ``end``, columns of the run's row that end the run or have it wait."""
    reservation = settlement.reservation
    run = settlement.run if end is None else {**settlement.run, **end}
    round_ = {**settlement.round, "charged_usd": settlement.charged_usd, "reserved_usd": Decimal(0)}
    alerts_at = [account.alert_at_usd for account in (reservation.provider, reservation.agent)]
    has_alerts = alerts_at != [None, None]
    moved = [toll for toll in reservation.tolls if toll.key in settlement.moves]
    arguments = {
        **params(round_, "round"),
        **params(run, "run"),
        **_months(reservation),
        "key": settlement.key,
        "number": settlement.number,
        "charged": settlement.charged_usd,
        "unknown": int(settlement.is_unknown),
    }
    if has_alerts:
        provider_alert, agent_alert = alerts_at
        arguments |= {
            "alert": f"{settlement.key} {settlement.number}",
            "provider_alert": provider_alert,
            "agent_alert": agent_alert,
        }
    if moved:
        arguments |= {
            "keys": [toll.key for toll in moved],
            "moves": [settlement.moves[toll.key] for toll in moved],
            "rates": [toll.per_minute for toll in moved],
            "paced_at": settlement.paced_at,
        }
    sql = statements.settling(
        schema,
        tuple(run),
        tuple(round_),
        has_moves=bool(moved),
        has_alerts=has_alerts,
        ends_run=end is not None,
    )
    found = writer.execute(sql, arguments)
    remember(sql, arguments)
    return Settled(
        is_found=bool(found),
        crossings=[Crossing(owner, spent_usd) for owner, spent_usd in found if owner is not None],
    )
