"""The current time, as the ledger writes and compares it."""

from __future__ import annotations

from datetime import UTC, datetime

from django.conf import settings
from django.utils import timezone


def now() -> datetime:
    """The current time, always aware: the ledger compares it with PostgreSQL's ``timestamptz``."""
    return datetime.now(UTC)


def to_django_time(moment: datetime) -> datetime:
    """An aware datetime in the form that Django returns: naive and in ``TIME_ZONE`` with ``USE_TZ = False``."""
    return moment if settings.USE_TZ else timezone.make_naive(moment, timezone.get_default_timezone())
