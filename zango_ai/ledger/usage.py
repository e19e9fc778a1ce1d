"""Figures of runs that have ended, from the usage roll-up. Each function is one query in the active schema.

An hour is an hour of UTC, and a day is one in the tenant's time zone. Agents and providers have their current name,
or a former one if they were deleted.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from datetime import date, timedelta
from decimal import Decimal
from typing import Any, Literal

from django.db.models import Case, F, Max, Model, OuterRef, Q, QuerySet, Subquery, Sum, Value, When
from django.db.models.functions import Coalesce

from .. import tenancy
from ..models import AgentConfig, Invocation, Provider, UsageRollup
from . import clock, time_zones

Dimension = Literal["agent", "provider", "model"]

DAYS = 30


@dataclass(frozen=True, slots=True)
class Figures:
    """What some runs have used. Runs in progress do not count."""

    runs: int = 0
    successes: int = 0
    errors: int = 0
    """Failed, timed out, rate limited, over budget, or abandoned."""
    cancelled: int = 0
    latency_ms: int = 0
    """Sum over the successes."""
    input_tokens: int = 0
    output_tokens: int = 0
    cache_creation_tokens: int = 0
    cache_read_tokens: int = 0
    cost_usd: Decimal = Decimal(0)
    unpriced_runs: int = 0
    """Runs of unknown cost. ``cost_usd`` does not include them."""

    @property
    def success_rate(self) -> float | None:
        """From 0 to 1, of the runs that were not cancelled. None if there are none."""
        ended = self.successes + self.errors
        return self.successes / ended if ended else None

    @property
    def average_latency_ms(self) -> int | None:
        """Of the successes. None if there are none."""
        return round(self.latency_ms / self.successes) if self.successes else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """The figures of one agent, provider or model, or of the whole tenant."""

    id: int | None
    """The primary key. None: direct calls (agent), no provider yet, or a model."""
    name: str
    last_24h: Figures
    """This hour and the 23 before."""
    last_30_days: Figures
    """Today and the 29 days before, in the tenant's time zone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelUsage(Usage):
    provider_id: int | None
    provider_name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DayUsage:
    day: date
    id: int | None
    name: str
    figures: Figures


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    runs: int
    """All runs that have ended, including those whose rows were deleted since."""
    runs_today: int
    errors_24h: int
    cost_today_usd: Decimal


def total() -> Usage:
    """The figures of the tenant."""
    return Usage(id=None, name="", **_windows(_recent().aggregate(**_both_windows())))


def per_agent() -> list[Usage]:
    """The figures of each agent that had runs, sorted by name."""
    return _per_owner("agent")


def per_provider() -> list[Usage]:
    """The figures of each provider that had runs, sorted by name. The provider of a run's last call counts it."""
    return _per_owner("provider")


def per_model(provider_id: int | None = None) -> list[ModelUsage]:
    """The figures of each model of each provider, or of one provider, sorted by provider and model."""
    rows = _recent() if provider_id is None else _recent().filter(provider_id=provider_id)
    found = _grouped(rows, "provider", "model").annotate(**_both_windows()).order_by("name", "model")
    return [
        ModelUsage(
            id=None,
            name=row["model"],
            provider_id=row["provider_id"] or None,
            provider_name=row["name"],
            **_windows(row),
        )
        for row in found
    ]


def per_day(by: Dimension, days: int = DAYS) -> list[DayUsage]:
    """The figures of each agent, provider or model on each day, sorted by day and name.

    ``days``: how many, with today as the last one. Days without runs are absent.
    """
    rows: Any = _recent(days)
    grouped = rows.values("day", name=F("model")) if by == "model" else _grouped(rows, by, "day")
    return [
        DayUsage(day=row["day"], id=row.get(f"{by}_id") or None, name=row["name"], figures=_figures(row))
        for row in grouped.annotate(**_sums()).order_by("day", "name")
    ]


def header() -> Header:
    """What the list of invocations shows above its rows."""
    is_today, is_error = Q(day=_today()), Q(status__in=Invocation.ERRORS)
    is_recent = Q(day__gte=_today() - timedelta(days=2))
    rows = UsageRollup.objects.filter(_IS_TOTAL | is_recent)
    row = rows.aggregate(
        all_runs=Sum("runs", default=0, filter=_IS_TOTAL),
        runs_today=Sum("runs", default=0, filter=is_today),
        errors_24h=Sum("runs", default=0, filter=_in_24h() & is_error),
        cost_today_usd=Sum("cost_usd", default=Decimal(0), filter=is_today),
    )
    return Header(runs=row.pop("all_runs"), **row)


_IS_TOTAL = Q(day=UsageRollup.ALL_TIME)


def _per_owner(owner: Literal["agent", "provider"]) -> list[Usage]:
    rows = _grouped(_recent(), owner).annotate(**_both_windows()).order_by("name")
    return [Usage(id=row[f"{owner}_id"] or None, name=row["name"], **_windows(row)) for row in rows]


def _grouped(rows: QuerySet[UsageRollup], owner: Literal["agent", "provider"], *others: str) -> Any:
    """Group by the owner, with its ``name``. Runs without the owner's primary key are told apart by its name."""
    model: type[Model] = AgentConfig if owner == "agent" else Provider
    column, logged = f"{owner}_id", f"{owner}_name"
    unknown = Case(When(**{column: 0}, then=F(logged)), default=Value(""))
    current = Subquery(model._default_manager.filter(pk=OuterRef(column)).values("name"))
    return rows.values(column, *others, unknown_name=unknown).annotate(name=Coalesce(current, Max(logged)))


def _recent(days: int = DAYS) -> QuerySet[UsageRollup]:
    """The rows of today and the days before it. The last 24 hours are among them, also at another date."""
    return UsageRollup.objects.filter(day__gt=_today() - timedelta(days=days)).order_by()


def _today() -> date:
    return time_zones.date_of(clock.now(), tenancy.current_schema())


def _in_24h() -> Q:
    now = clock.now()
    return Q(hour__gt=clock.to_django_time(now - timedelta(hours=24)))


_SUMMED = {
    "runs": ("runs", Q()),
    "successes": ("runs", Q(status=Invocation.Status.SUCCESS)),
    "errors": ("runs", Q(status__in=Invocation.ERRORS)),
    "cancelled": ("runs", Q(status=Invocation.Status.CANCELLED)),
    "latency_ms": ("latency_ms", Q(status=Invocation.Status.SUCCESS)),
}
"""The column and the rows of each figure. The others are the sum of the column of the same name."""


def _sums(prefix: str = "", where: Q | None = None) -> dict[str, Sum]:
    sums = {}
    for each in fields(Figures):
        column, rows = _SUMMED.get(each.name, (each.name, Q()))
        condition = rows if where is None else rows & where
        default = Decimal(0) if column == "cost_usd" else 0
        sums[prefix + each.name + _SUFFIX] = Sum(column, default=default, filter=condition or None)
    return sums


_SUFFIX = "_sum"
"""An annotation may not have the name of a column."""


def _both_windows() -> dict[str, Sum]:
    return _sums("day_", _in_24h()) | _sums("month_")


def _windows(row: dict[str, Any]) -> dict[str, Figures]:
    return {"last_24h": _figures(row, "day_"), "last_30_days": _figures(row, "month_")}


def _figures(row: dict[str, Any], prefix: str = "") -> Figures:
    return Figures(**{each.name: row[prefix + each.name + _SUFFIX] for each in fields(Figures)})
