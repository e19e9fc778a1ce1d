"""What a tenant's providers and agents have spent in a month, beside their budgets."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from ..models import AgentConfig, Provider, Spend
from ..models.budgeted import BudgetedModel
from ..models.specs import budget_of
from ..types import Budget
from . import clock, months, time_zones

_OWNERS = (("provider", Provider), ("agent", AgentConfig))


@dataclass(frozen=True, slots=True)
class SpendRow:
    owner: str
    """``provider`` or ``agent``. An agent's spending is part of its providers'."""
    name: str
    month_start: date
    spent_usd: Decimal
    reserved_usd: Decimal
    limit_usd: Decimal | None
    """The budget as it is now; None: no limit, or the owner was deleted."""
    calls: int
    unknown_calls: int


def read(schema: str, month: date | None) -> list[SpendRow]:
    """The budget months that began in ``month``, the first day of a calendar month; None: those under way.

    The schema is the active one. Providers first, each in the order of names.
    """
    owners = _owners()
    today = clock.now().astimezone(time_zones.of(schema)).date()
    rows = []
    for spend in Spend.objects.all() if month is None else Spend.objects.filter(**_within(month)):
        name, budget = owners.get((spend.owner, spend.owner_id), (spend.owner_name, None))
        if month is None and not _is_under_way(spend.month_start, budget, schema, today):
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
    return sorted(rows, key=lambda row: (row.owner == "agent", row.name, row.month_start))


def _owners() -> dict[tuple[str, int], tuple[str, Budget]]:
    fields = ("id", "name", *BudgetedModel.BUDGET_FIELDS)
    return {
        (owner, row["id"]): (row["name"], budget_of(row))
        for owner, model in _OWNERS
        for row in model._default_manager.values(*fields)
    }


def _within(month: date) -> dict[str, int]:
    return {"month_start__year": month.year, "month_start__month": month.month}


def _is_under_way(start: date, budget: Budget | None, schema: str, today: date) -> bool:
    if budget is not None:
        return start == months.current_month_start(budget, schema)
    return start <= today < months.next_month_start(start, start.day)
