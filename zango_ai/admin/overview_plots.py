"""The plots of the overview: figures of the last thirty days, by outcome, agent and provider."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import date, timedelta
from decimal import Decimal
from typing import Any, Literal

from django.utils.translation import gettext

from .. import tenancy
from ..ledger import clock, time_zones, usage
from ..ledger.usage import DayUsage

_MOST_SERIES = 6


@dataclass(frozen=True, slots=True)
class PlotRow:
    day: date
    values: list[Any]
    total: Any


@dataclass(frozen=True, slots=True)
class Plot:
    """A figure per day for each series. ``unit`` is ``count`` or ``usd``."""

    name: str
    title: str
    unit: Literal["count", "usd"]
    series: list[str]
    rows: list[PlotRow] = field(default_factory=list)

    @property
    def total(self) -> Any:
        return sum(row.total for row in self.rows)


def read() -> list[Plot]:
    """The plots, from two queries."""
    by_agent, by_provider = usage.per_day("agent"), usage.per_day("provider")
    days = _last_days()
    return [
        _runs_plot(by_agent, days),
        _cost_plot("cost-agent", gettext("Cost by day and agent"), by_agent, days),
        _cost_plot("cost-provider", gettext("Cost by day and provider"), by_provider, days),
    ]


def _last_days() -> list[date]:
    today = clock.now().astimezone(time_zones.of(tenancy.current_schema())).date()
    return [today - timedelta(days=age) for age in range(usage.DAYS - 1, -1, -1)]


def _runs_plot(found: Iterable[DayUsage], days: list[date]) -> Plot:
    series = [gettext("Successful"), gettext("Errors"), gettext("Cancelled")]
    sums = {day: [0, 0, 0] for day in days}
    for each in found:
        if each.day in sums:
            parts = (each.figures.successes, each.figures.errors, each.figures.cancelled)
            sums[each.day] = [one + more for one, more in zip(sums[each.day], parts, strict=True)]
    rows = [PlotRow(day, values, sum(values)) for day, values in sums.items()]
    return Plot("runs", gettext("Runs by day"), "count", series, rows)


def _cost_plot(name: str, title: str, found: list[DayUsage], days: list[date]) -> Plot:
    totals: dict[str, Decimal] = {}
    for each in found:
        totals[each.name] = totals.get(each.name, Decimal(0)) + each.figures.cost_usd
    ranked = sorted(totals, key=lambda owner: (-totals[owner], owner))
    shown, rest = ranked[:_MOST_SERIES], set(ranked[_MOST_SERIES:])
    costs = {(each.day, each.name): each.figures.cost_usd for each in found}
    rows = []
    for day in days:
        values = [costs.get((day, owner), Decimal(0)) for owner in shown]
        if rest:
            values.append(sum((costs.get((day, owner), Decimal(0)) for owner in rest), Decimal(0)))
        rows.append(PlotRow(day, values, sum(values, Decimal(0))))
    return Plot(name, title, "usd", list(_labels(shown, bool(rest))), rows)


def _labels(owners: list[str], has_more: bool) -> Iterator[str]:
    for owner in owners:
        yield owner or gettext("Direct calls")
    if has_more:
        yield gettext("Others")
