"""One round, a call to a provider, in two statements: reserve it before the call, settle it afterwards.

Each statement succeeds or fails as a whole, and holds its locks only while it executes. So no thread or machine
waits for another one's provider. A statement that is executed again, because its confirmation was lost, changes
nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.db import OperationalError

from ..database import writer
from ..database.sql import parameters, table
from ..models import Spend
from . import clock, payloads, rate_limits
from .payloads import RequestPayloads
from .reservation_amounts import Owner, Reservation
from .sql.reserve_round import reserve_round as reserve_round_sql
from .sql.run_row import write_run as write_run_sql
from .sql.settle_round import settle_round as settle_round_sql

_MAX_ATTEMPTS = 5
"""A counter may be deleted between its insertion and the next attempt."""


@dataclass(frozen=True, slots=True)
class Decision:
    """Whether a reservation was granted, and if not, why."""

    invocation_id: int
    is_granted: bool
    disabled_owner: Owner | None
    """Set if the provider or agent was disabled or deleted since the run started."""
    exceeded_owner: Owner | None
    """Set if the budget of the provider or agent does not allow the call."""
    limit_usd: Decimal | None
    """The exceeded budget, as it is now."""
    spent_usd: Decimal | None
    reserved_usd: Decimal | None
    """Of the exceeded budget: reserved by other calls."""
    wait_s: float | None
    """The seconds until the limits per minute allow the call; None if they do now."""
    exceeded_limit: str | None
    """The key of the limit with the longest wait."""
    at: datetime
    """When the limits were checked, by the database's clock."""
    is_cancelled: bool
    """Whether somebody has cancelled the run."""


@dataclass(frozen=True, slots=True)
class BudgetAlert:
    """A budget whose spending has reached its alert threshold."""

    owner: Owner
    spent_usd: Decimal


@dataclass(frozen=True, slots=True)
class SettlementResult:
    is_found: bool
    """False if the round does not exist, because its reservation was interrupted."""
    is_cancelled: bool
    """Whether somebody has cancelled the run."""
    alerts: list[BudgetAlert]
    """The alerts that this call has triggered."""


@dataclass(frozen=True, slots=True)
class Settlement:
    """What a call has used, ready to be written."""

    key: UUID
    """The run's ``run_id``."""
    number: int
    round: Mapping[str, Any]
    """Columns of the round's row."""
    run: Mapping[str, Any]
    """Columns of the run's row: its totals so far."""
    charged_usd: Decimal
    is_cost_unknown: bool
    reservation: Reservation
    adjustments: Mapping[str, float]
    """The seconds to add to each token limit, by key. Negative: give back."""
    charged_at: datetime | None
    """When the limits were charged, by the database's clock; None if unknown."""


def reserve_round(
    schema: str,
    key: UUID,
    run: Mapping[str, Any],
    round_: Mapping[str, Any],
    reservation: Reservation,
    texts: RequestPayloads,
    *,
    is_first: bool,
) -> Decision:
    """Reserve budget and rate limits, and write the rows of the round and of the run with the ``run_id`` ``key``.

    The run's row is written also if the reservation is refused. ``is_first`` inserts it. ``texts`` has the
    payloads that the round's row refers to.
    """
    agent = reservation.agent
    values = {
        **round_,
        "reserved_usd": reservation.usd,
        "provider_id": reservation.provider.owner_id,
        "provider_month": reservation.provider.month_start,
        "agent_month": None if agent is None else agent.month_start,
    }
    arguments = {
        "key": key,
        **parameters(run, "run"),
        **parameters(values, "round"),
        **payloads.parameters(texts, clock.now()),
        **_arguments(reservation),
    }
    form = {"is_first": is_first, "has_limits": bool(reservation.shares)}
    statement = reserve_round_sql(schema, tuple(run), tuple(values), **form)

    def replay(rows: writer.Rows) -> writer.Statement | None:
        """With the primary keys that the rows have got, and without checking the rules again."""
        ((run_pk, round_pk, has_all_counters, *_),) = rows
        if not has_all_counters:
            return None
        run_values = {"id": run_pk, **run} if is_first else run
        again = {**arguments, **parameters(run_values, "run"), "round_id": round_pk, "is_replayed": True}
        if round_pk is None:
            return write_run_sql(schema, tuple(run_values), is_first=is_first), again
        return reserve_round_sql(schema, tuple(run_values), ("id", *values), **form), again

    for _ in range(_MAX_ATTEMPTS):
        ((run_pk, round_pk, has_all_counters, *decision),) = writer.execute(statement, arguments, replay=replay)
        if has_all_counters:
            disabled, exceeded, *others = decision
            return Decision(run_pk, round_pk is not None, _owner(disabled), _owner(exceeded), *others)
        _insert_counters(schema, reservation)
    raise OperationalError(f"The ledger cannot insert its counters for this month in schema {schema!r}.")


def _owner(value: str | None) -> Owner | None:
    return None if value is None else Owner(value)


def write_run(schema: str, key: UUID, run: Mapping[str, Any], *, is_new: bool) -> tuple[int, bool]:
    """Write columns of the run's row outside of a round.

    Returns its primary key, and whether somebody has cancelled the run.
    """
    arguments = {"key": key, **parameters(run, "run")}

    def replay(rows: writer.Rows) -> writer.Statement:
        values = {"id": rows[0][0], **run} if is_new else run
        again = {**arguments, **parameters(values, "run")}
        return write_run_sql(schema, tuple(values), is_first=is_new), again

    statement = write_run_sql(schema, tuple(run), is_first=is_new)
    ((run_pk, is_cancelled),) = writer.execute(statement, arguments, replay=replay, is_replayed_on_error=True)
    return int(run_pk), bool(is_cancelled)


def _arguments(reservation: Reservation) -> dict[str, Any]:
    provider, agent = reservation.provider, reservation.agent
    sees_uncommitted = writer.is_in_test_transaction()
    arguments = {
        **_budget_months(reservation),
        "provider_budget": provider.budget.limit_usd,
        "provider_xmin": None if sees_uncommitted else provider.xmin,
        "agent_budget": None if agent is None else agent.budget.limit_usd,
        "agent_xmin": None if agent is None or sees_uncommitted else agent.xmin,
        "is_replayed": False,
        "usd": reservation.usd,
        "is_priced": reservation.is_priced,
    }
    return arguments | (rate_limits.parameters(reservation.shares) if reservation.shares else {})


def _budget_months(reservation: Reservation) -> dict[str, Any]:
    provider, agent = reservation.provider, reservation.agent
    return {
        "provider": provider.owner_id,
        "provider_month": provider.month_start,
        "agent": None if agent is None else agent.owner_id,
        "agent_month": None if agent is None else agent.month_start,
    }


def _insert_counters(schema: str, reservation: Reservation) -> None:
    """Insert the rows of budget months and rate limits that are used for the first time."""
    statement = f"""
INSERT INTO {table(schema, Spend)} (owner, owner_id, owner_name, month_start, created_at, updated_at)
SELECT w.*, %(now)s, %(now)s
FROM unnest(%(owners)s::text[], %(owner_ids)s::bigint[], %(names)s::text[], %(months)s::date[])
    AS w(owner, owner_id, owner_name, month_start)
ORDER BY w.owner, w.owner_id ON CONFLICT DO NOTHING
"""
    budget_months = reservation.budget_months
    arguments = {
        "owners": [month.owner.value for month in budget_months],
        "owner_ids": [month.owner_id for month in budget_months],
        "names": [month.name for month in budget_months],
        "months": [month.month_start for month in budget_months],
        "now": clock.now(),
    }
    writer.execute(statement, arguments)
    if reservation.shares:
        rate_limits.insert_missing(schema, reservation.shares)


def settle_round(schema: str, settlement: Settlement, end: Mapping[str, Any] | None = None) -> SettlementResult:
    """Write what a call has used. ``end`` adds columns of the run's row, to end or pause the run with it."""
    reservation = settlement.reservation
    run = settlement.run if end is None else {**settlement.run, **end}
    round_ = {**settlement.round, "charged_usd": settlement.charged_usd, "reserved_usd": Decimal(0)}
    alerts = _alert_arguments(settlement)
    adjustments = _adjustment_arguments(settlement)
    arguments = {
        **parameters(round_, "round"),
        **parameters(run, "run"),
        **_budget_months(reservation),
        "key": settlement.key,
        "number": settlement.number,
        "charged": settlement.charged_usd,
        "unknown": int(settlement.is_cost_unknown),
        **alerts,
        **adjustments,
    }
    statement = settle_round_sql(
        schema,
        tuple(run),
        tuple(round_),
        has_adjustments=bool(adjustments),
        has_alerts=bool(alerts),
        ends_run=end is not None,
    )
    rows = writer.execute(statement, arguments)
    return SettlementResult(
        is_found=bool(rows),
        is_cancelled=any(is_cancelled for is_cancelled, *_ in rows),
        alerts=[BudgetAlert(Owner(owner), spent_usd) for _, owner, spent_usd in rows if owner is not None],
    )


def _alert_arguments(settlement: Settlement) -> dict[str, Any]:
    provider, agent = settlement.reservation.provider, settlement.reservation.agent
    provider_alert, agent_alert = provider.alert_at_usd, None if agent is None else agent.alert_at_usd
    if provider_alert is None and agent_alert is None:
        return {}
    alert = f"{settlement.key} {settlement.number}"
    return {"alert": alert, "provider_alert": provider_alert, "agent_alert": agent_alert}


def _adjustment_arguments(settlement: Settlement) -> dict[str, Any]:
    shares = [share for share in settlement.reservation.shares if share.key in settlement.adjustments]
    if not shares:
        return {}
    return {
        "limit_keys": [share.key for share in shares],
        "limit_adjustments": [settlement.adjustments[share.key] for share in shares],
        "limits_per_minute": [share.per_minute for share in shares],
        "charged_at": settlement.charged_at,
    }
