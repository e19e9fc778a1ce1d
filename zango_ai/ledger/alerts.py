"""Tell the application that a budget is running out, and that a run is over."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from decimal import Decimal
from typing import Any
from uuid import UUID

from .. import signals, tenancy
from ..database import writer
from ..database.writer import table
from ..models import AgentConfig, Invocation, Provider, Spend
from ..models.budgeted import BudgetedModel
from ..models.specs import budget_of
from . import clock
from .months import current_month_start
from .reservations import Account, Owner, Reservation
from .rounds import Crossing

logger = logging.getLogger("zango_ai.maintenance")

_SENDERS = {"provider": Provider, "agent": AgentConfig}


def tell_finished(schema: str, run_id: UUID, invocation_id: int | None, agent_name: str, status: str) -> None:
    """Send ``run_finished``. Django logs what a receiver raises."""
    if not signals.run_finished.has_listeners(Invocation):
        return
    with tenancy.active(schema):
        signals.run_finished.send_robust(
            sender=Invocation,
            schema=schema,
            run_id=run_id,
            invocation_id=invocation_id,
            agent_name=agent_name,
            status=status,
        )


def send(schema: str, reservation: Reservation, crossing: Crossing) -> None:
    """Tell of a call that has made an alert due."""
    _send(schema, reservation.account_of(crossing.owner), reservation.provider.name, crossing.spent_usd)


def send_due(schema: str) -> int:
    """Send what no call has: of a budget that was set, or a threshold that was lowered, after the money was spent.

    The schema is the active one. Returns how many. Raises the last error, after all budgets were looked at.
    """
    sql = f"""
UPDATE {table(schema, Spend)} SET alerted_at = %(now)s, alerted_by = 'maintenance', updated_at = %(now)s
WHERE owner = %(owner)s AND owner_id = %(id)s AND month_start = %(month)s
    AND alerted_at IS NULL AND spent_usd >= %(alert_at)s
RETURNING spent_usd
"""
    sent = 0
    trouble: Exception | None = None
    for owner, row, provider_name in _with_budgets():
        try:
            sent += _send_if_due(schema, sql, _account(owner, row, schema), provider_name)
        except Exception as exc:  # one that cannot be handled keeps no other from its alert
            logger.exception("The budget of %s %s in schema %s cannot be looked at", owner, row["id"], schema)
            trouble = exc
    if trouble is not None:
        raise trouble
    return sent


def _send_if_due(schema: str, sql: str, account: Account, provider_name: str) -> int:
    arguments = {
        "owner": account.owner,
        "id": account.owner_id,
        "month": account.month_start,
        "alert_at": account.alert_at_usd,
        "now": clock.now(),
    }
    crossed = writer.execute(sql, arguments)
    for (spent_usd,) in crossed:
        writer.remember(sql, arguments)
        _send(schema, account, provider_name, spent_usd)
    return len(crossed)


def _with_budgets() -> Iterator[tuple[Owner, dict[str, Any], str]]:
    """The rows that have a budget above 0, each with the provider's name."""
    fields = ("id", "name", *BudgetedModel.BUDGET_FIELDS)
    for row in Provider.objects.filter(monthly_budget_usd__gt=0).order_by("id").values(*fields):
        yield "provider", row, row["name"]
    for row in (
        AgentConfig.objects.filter(monthly_budget_usd__gt=0).order_by("id").values(*fields, "provider__name")
    ):
        yield "agent", row, row["provider__name"]


def _account(owner: Owner, row: dict[str, Any], schema: str) -> Account:
    budget = budget_of(row)
    return Account(owner, row["id"], row["name"], budget, current_month_start(budget, schema))


def _send(schema: str, account: Account, provider_name: str, spent_usd: Decimal) -> None:
    """Send ``budget_threshold_crossed``. Django logs what a receiver raises."""
    with tenancy.active(schema):  # something in the run may have switched it
        signals.budget_threshold_crossed.send_robust(
            sender=_SENDERS[account.owner],
            schema=schema,
            provider_name=provider_name,
            agent_name=account.name if account.owner == "agent" else None,
            budget_limit=account.budget.limit_usd,
            spent_usd=spent_usd,
            percent=account.budget.alert_percent,
            month_start=account.month_start,
        )
