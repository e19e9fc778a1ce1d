"""Send the signal that a budget has reached its alert threshold."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

from .. import signals, tenancy
from ..database import writer
from ..database.sql import table
from ..models import AgentConfig, Provider, Spend
from ..models.budgeted import BudgetedModel
from ..models.specs import budget_of
from . import clock
from .months import current_month_start
from .reservation_amounts import BudgetMonth, Owner, Reservation
from .reserve_and_settle import BudgetAlert

logger = logging.getLogger("zango_ai.maintenance")

_SENDERS = {Owner.PROVIDER: Provider, Owner.AGENT: AgentConfig}


def send(schema: str, reservation: Reservation, alert: BudgetAlert) -> None:
    """Send an alert that a call has triggered."""
    _send(schema, reservation.month_of(alert.owner), reservation.provider.name, alert.spent_usd)


def send_due(schema: str) -> int:
    """Send the alerts that no call has triggered, and return how many.

    They are due if a budget was set, or a threshold lowered, after the money was spent. ``schema`` must be active.
    Raises the last error after it has checked all budgets.
    """
    sql = f"""
UPDATE {table(schema, Spend)} SET alerted_at = %(now)s, alerted_by = 'maintenance', updated_at = %(now)s
WHERE owner = %(owner)s AND owner_id = %(id)s AND month_start = %(month)s
    AND alerted_at IS NULL AND spent_usd >= %(alert_at)s
RETURNING spent_usd
"""
    sent = 0
    error: Exception | None = None
    for owner, row, provider_name in _rows_with_budget():
        try:
            sent += _send_if_due(schema, sql, _budget_month(owner, row, schema), provider_name)
        except Exception as exc:  # the other budgets must still get their alerts
            logger.exception("Could not check the budget of %s %s in schema %s", owner, row["id"], schema)
            error = exc
    if error is not None:
        raise error
    return sent


def _send_if_due(schema: str, sql: str, month: BudgetMonth, provider_name: str) -> int:
    arguments = {
        "owner": month.owner.value,
        "id": month.owner_id,
        "month": month.month_start,
        "alert_at": month.alert_at_usd,
        "now": clock.now(),
    }
    rows = writer.execute(sql, arguments)
    for (spent_usd,) in rows:
        _send(schema, month, provider_name, spent_usd)
    return len(rows)


def _rows_with_budget() -> Iterator[tuple[Owner, dict[str, Any], str]]:
    """The providers and agents with a budget above 0, each with the name of its provider."""
    columns = ("id", "name", *BudgetedModel.BUDGET_FIELDS)
    providers = Provider.objects.filter(monthly_budget_usd__gt=0).order_by("id")
    for row in providers.values(*columns):
        yield Owner.PROVIDER, row, row["name"]
    agents = AgentConfig.objects.filter(monthly_budget_usd__gt=0).order_by("id")
    for row in agents.values(*columns, "provider__name"):
        yield Owner.AGENT, row, row["provider__name"]


def _budget_month(owner: Owner, row: dict[str, Any], schema: str) -> BudgetMonth:
    budget = budget_of(row)
    return BudgetMonth(owner, row["id"], row["name"], budget, current_month_start(budget, schema))


def _send(schema: str, month: BudgetMonth, provider_name: str, spent_usd: Decimal) -> None:
    """Send ``budget_threshold_crossed``. Django logs the exceptions of its receivers."""
    with tenancy.active(schema):  # a tool may have switched the tenant
        signals.budget_threshold_crossed.send_robust(
            sender=_SENDERS[month.owner],
            schema=schema,
            provider_name=provider_name,
            agent_name=month.name if month.owner == Owner.AGENT else None,
            budget_limit=month.budget.limit_usd,
            spent_usd=spent_usd,
            percent=month.budget.alert_percent,
            month_start=month.month_start,
        )
