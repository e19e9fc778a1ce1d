"""The spending of a tenant's providers and agents in one month, with their budgets."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from ..models import AgentConfig, Provider, Spend
from ..models.budgeted import BudgetedModel
from ..models.specs import budget_of
from ..types import Budget
from . import clock, months, time_zones

_MODELS = ((Spend.Owner.PROVIDER, Provider), (Spend.Owner.AGENT, AgentConfig))


@dataclass(frozen=True, slots=True)
class SpendRow:
    owner: str
    """``provider`` or ``agent``. The spending of an agent is also part of its provider's."""
    name: str
    month_start: date
    spent_usd: Decimal
    reserved_usd: Decimal
    limit_usd: Decimal | None
    """The current budget; None without a budget, or if the owner was deleted."""
    calls: int
    unknown_calls: int


def read(schema: str, month: date | None) -> list[SpendRow]:
    """The budget months that start in the calendar month of ``month``, or the current ones if it is None.

    ``schema`` must be active. Providers come first, then agents, each sorted by name.
    """
    owners = _owners()
    today = time_zones.date_of(clock.now(), schema)
    rows = []
    for spend in Spend.objects.all() if month is None else Spend.objects.filter(**_starts_in(month)):
        name, budget = owners.get((spend.owner, spend.owner_id), (spend.owner_name, None))
        if month is None and not _is_current(spend.month_start, budget, schema, today):
            continue
        rows.append(
            SpendRow(
                owner=spend.owner,
                name=name,
                month_start=spend.month_start,
                spent_usd=spend.spent_usd,
                reserved_usd=spend.reserved_usd,
                limit_usd=None if budget is None else budget.limit_usd,
                calls=spend.calls,
                unknown_calls=spend.unknown_calls,
            )
        )
    return sorted(rows, key=lambda row: (row.owner == Spend.Owner.AGENT, row.name, row.month_start))


def _owners() -> dict[tuple[str, int], tuple[str, Budget]]:
    fields = ("id", "name", *BudgetedModel.BUDGET_FIELDS)
    return {
        (owner, row["id"]): (row["name"], budget_of(row))
        for owner, model in _MODELS
        for row in model._default_manager.values(*fields)
    }


def _starts_in(month: date) -> dict[str, int]:
    return {"month_start__year": month.year, "month_start__month": month.month}


def _is_current(start: date, budget: Budget | None, schema: str, today: date) -> bool:
    if budget is not None:
        return start == months.current_month_start(budget, schema)
    return start <= today < months.next_month_start(start, start.day)
