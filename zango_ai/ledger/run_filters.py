"""Conditions that find runs in a log of any size. Each uses an index."""

from __future__ import annotations

from contextlib import suppress
from datetime import date, datetime, time, timedelta
from functools import reduce
from operator import or_
from uuid import UUID

from django.db.models import F, Q, QuerySet, Subquery, Value
from django.db.models.functions import Left
from django.db.models.lookups import Exact

from .. import tenancy
from ..models import Invocation
from ..models.invocation import KEY_CHARS
from . import clock, time_zones

Runs = QuerySet[Invocation]

_SLACK = timedelta(minutes=10)
"""How far the order of primary keys may differ from that of ``created_at``, because of two machines' clocks."""


def is_text(column: str, text: str) -> Q:
    """The condition that ``session_id`` or ``user_ref`` is ``text``, in the form that their indexes support."""
    start = Exact(Left(F(column), KEY_CHARS), Value(text[:KEY_CHARS]))
    return Q(start) & Q(**{column: text})


def day_of(text: str) -> date:
    """The day of ``YYYY-MM-DD``. Raises ValueError, also at the ends of the calendar, where time zones fail."""
    day = date.fromisoformat(text)
    if not 1971 < day.year < 9000:
        raise ValueError(f"{text} is too far away.")
    return day


def is_in_order(first: date | None, last: date | None) -> bool:
    """Whether a run can have been created between these days. None: no limit."""
    return first is None or last is None or first <= last


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
