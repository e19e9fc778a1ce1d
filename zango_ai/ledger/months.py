"""Budget months: when one starts and when the next one does."""

from __future__ import annotations

import calendar
from datetime import date, timedelta

from ..types import Budget
from . import clock, time_zones


def month_start(today: date, reset_day: int) -> date:
    """The first day of the budget month that contains ``today``.

    In a month with fewer than ``reset_day`` days, the budget resets on the last day.
    """
    this_reset = _reset_date(today.year, today.month, reset_day)
    if today >= this_reset:
        return this_reset
    last_month = today.replace(day=1) - timedelta(days=1)
    return _reset_date(last_month.year, last_month.month, reset_day)


def next_month_start(start: date, reset_day: int) -> date:
    """The first day of the budget month after the one that starts on ``start``."""
    next_month = start.replace(day=1) + timedelta(days=32)
    return _reset_date(next_month.year, next_month.month, reset_day)


def current_month_start(budget: Budget, schema: str) -> date:
    """The first day of the budget's current month, in the tenant's time zone."""
    today = time_zones.date_of(clock.now(), schema)
    return month_start(today, budget.reset_day)


def _reset_date(year: int, month: int, reset_day: int) -> date:
    return date(year, month, min(reset_day, calendar.monthrange(year, month)[1]))
