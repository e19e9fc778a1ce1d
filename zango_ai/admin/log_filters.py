"""Filters and search of the list of invocations. Each uses an index, and none reads the log to find its choices."""

from __future__ import annotations

from contextlib import suppress
from datetime import date, datetime, time, timedelta
from functools import reduce
from operator import or_
from typing import Any
from uuid import UUID

from django.contrib import admin
from django.db.models import F, Q, QuerySet, Subquery, Value
from django.db.models.functions import Left
from django.db.models.lookups import Exact
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from .. import tenancy
from ..ledger import clock, time_zones
from ..models import Invocation, UsageRollup
from ..models.invocation import KEY_CHARS

Runs = QuerySet[Invocation]

LIST_COLUMNS = (
    *("run_id", "agent_name", "provider_name", "model", "status", "triggered_by", "session_id", "user_ref"),
    *("input_tokens", "output_tokens", "cost_usd", "latency_ms", "rounds_count", "error_type"),
    *("created_at", "started_at", "finished_at"),
)
"""What a list reads of a run, for ``only()``. All other columns may be long texts."""

_SLACK = timedelta(minutes=10)
"""How far the order of primary keys may differ from that of ``created_at``, because of two machines' clocks."""


def is_text(column: str, text: str) -> Q:
    """The condition that ``session_id`` or ``user_ref`` is ``text``, in the form that their indexes support."""
    start = Exact(Left(F(column), KEY_CHARS), Value(text[:KEY_CHARS]))
    return Q(start) & Q(**{column: text})


def created_between(first: date | None, last: date | None) -> Q:
    """The condition that a run was created on one of these days, in the tenant's time zone. None: no limit.

    Primary keys grow with time, so the days limit them too, and the index of any other filter can use that.
    """
    condition, runs = Q(), Invocation.objects.values("pk")
    if first is not None:
        start = _midnight(first)
        lowest = runs.filter(created_at__gte=start - _SLACK).order_by("created_at")[:1]
        condition &= Q(created_at__gte=start, pk__gte=Subquery(lowest))
    if last is not None:
        end = _midnight(last + timedelta(days=1))
        highest = runs.filter(created_at__lt=end + _SLACK).order_by("-created_at")[:1]
        condition &= Q(created_at__lt=end, pk__lte=Subquery(highest))
    return condition


def search(runs: Runs, text: str) -> Runs:
    """The runs whose id, run id, session or user is ``text``. One query finds out which of them it is.

    PostgreSQL reads the newest rows from one index. From two, it would read and sort all rows that match.
    """
    conditions = {"session": is_text("session_id", text), "user": is_text("user_ref", text)}
    if text.isascii() and text.isdecimal() and len(text) < 19:
        conditions["id"] = Q(pk=int(text))
    with suppress(ValueError):
        conditions["run"] = Q(run_id=UUID(text))
    first, *others = (
        Invocation.objects.order_by().filter(condition).values_list(Value(name))[:1]
        for name, condition in conditions.items()
    )
    found = [conditions[name] for (name,) in first.union(*others, all=True)]
    return runs.filter(reduce(or_, found)) if found else runs.none()


def _midnight(day: date) -> datetime:
    """When the day starts in the tenant's time zone."""
    zone = time_zones.of(tenancy.current_schema())
    return clock.to_django_time(datetime.combine(day, time.min, tzinfo=zone))


class _UsageFilter(admin.SimpleListFilter):
    """A column whose values the usage roll-up knows."""

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        known = UsageRollup.objects.filter(day=UsageRollup.ALL_TIME).exclude(**{self._column: ""})
        names = {*known.values_list(self._column, flat=True), self.value() or ""} - {""}
        return [(name, name) for name in sorted(names)]

    def queryset(self, request: HttpRequest, queryset: Runs) -> Runs:
        return queryset.filter(**{self._column: self.value()}) if self.value() else queryset

    @property
    def _column(self) -> str:
        return str(self.parameter_name)


class AgentFilter(_UsageFilter):
    title, parameter_name = _("agent"), "agent_name"


class ProviderFilter(_UsageFilter):
    title, parameter_name = _("provider"), "provider_name"


class ModelFilter(_UsageFilter):
    title, parameter_name = _("model"), "model"


class MemoryFilter(admin.SimpleListFilter):
    title, parameter_name = _("memory"), "memory"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [("yes", _("In a conversation")), ("no", _("Without memory"))]

    def queryset(self, request: HttpRequest, queryset: Runs) -> Runs:
        chosen = self.value()
        return queryset.filter(session_id__isnull=chosen == "no") if chosen in ("yes", "no") else queryset


class _TextFilter(admin.SimpleListFilter):
    """Set by a link. Without one, it is not shown."""

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        text = self.value()
        return [(text, text)] if text else []

    def queryset(self, request: HttpRequest, queryset: Runs) -> Runs:
        text = self.value()
        if not text:
            return queryset
        return queryset.none() if "\0" in text else queryset.filter(is_text(str(self.parameter_name), text))


class SessionFilter(_TextFilter):
    title, parameter_name = _("session"), "session_id"


class UserFilter(_TextFilter):
    title, parameter_name = _("user"), "user_ref"


class DateFilter(admin.SimpleListFilter):
    """``?created=7`` for the last seven days, or ``?created=2026-11-01..2026-11-30``. Each side may be empty."""

    title, parameter_name = _("date"), "created"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        ranges = [("1", _("Today")), ("7", _("Last 7 days")), ("30", _("Last 30 days"))]
        chosen = self.value() or ""
        is_other = chosen and chosen not in dict(ranges) and _days(chosen) is not None
        return [*ranges, (chosen, chosen.replace("..", " to "))] if is_other else ranges

    def queryset(self, request: HttpRequest, queryset: Runs) -> Runs:
        days = _days(self.value() or "")
        return queryset if days is None else queryset.filter(created_between(*days))


def _days(text: str) -> tuple[date | None, date | None] | None:
    """The first and last day of a range in a URL. None if there is none, or if it is invalid."""
    today = time_zones.date_of(clock.now(), tenancy.current_schema())
    if text in ("1", "7", "30"):
        return today - timedelta(days=int(text) - 1), None
    first, separator, last = text.partition("..")
    try:
        days = date.fromisoformat(first) if first else None, date.fromisoformat(last) if last else None
    except ValueError:
        return None
    is_in_range = all(day is None or 1971 < day.year < 9000 for day in days)
    return days if separator and is_in_range else None


LIST_FILTERS = (
    *("status", "triggered_by", AgentFilter, ProviderFilter, ModelFilter, MemoryFilter, DateFilter),
    *(SessionFilter, UserFilter),
)
