"""The time, for everything that the ledger writes and compares."""

from __future__ import annotations

from datetime import UTC, datetime

from django.conf import settings
from django.utils import timezone


def now() -> datetime:
    """The current time, always aware: the ledger compares it with PostgreSQL's ``timestamptz``."""
    return datetime.now(UTC)


def as_seen_by_project(moment: datetime) -> datetime:
    """An aware datetime as Django returns datetimes: naive and in ``TIME_ZONE`` with ``USE_TZ = False``."""
    return moment if settings.USE_TZ else timezone.make_naive(moment, timezone.get_default_timezone())
