"""Background runs that wait, and maintenance that does not run."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from django.utils import timezone

from .. import tenancy
from ..conf import get_conf
from ..ledger import expiry, maintenance, retention
from ..models import Invocation, MaintenanceRecord
from ..runs import queue
from .findings import Finding, Scope, error, warning

_WAITS_TOO_LONG = timedelta(minutes=10)
_OVERDUE = timedelta(hours=1)
"""After this time, what should happen within minutes does not happen."""
_OVERDUE_DAYS = 2
_SCHEDULE = (
    "Run zango_ai_maintain every few minutes, from cron or with the task zango_ai.maintain in a beat schedule."
)


def find_in_runs(scope: Scope) -> Iterator[Finding]:
    since = timezone.now() - _WAITS_TOO_LONG
    queued = Invocation.objects.filter(status=Invocation.Status.QUEUED, updated_at__lt=since)
    count = queued.count()
    if count:
        oldest = queued.earliest("updated_at").updated_at
        make = error if oldest < timezone.now() - _OVERDUE else warning
        yield make(
            "runs.waiting",
            "",
            f"{count} queued {_runs(count)} not started yet, the oldest for {ago(oldest)}.",
            queue.configured().advice_if_waiting,
        )


def find_in_maintenance(scope: Scope) -> Iterator[Finding]:
    yield from _overdue_runs(scope.schema)
    yield from _overdue_data(scope.schema)
    record = MaintenanceRecord.objects.first()
    if record is None:
        if Invocation.objects.exists():
            yield warning("maintenance.never", "", "Maintenance has never run.", _SCHEDULE)
        return
    if record.finished_at < timezone.now() - _OVERDUE:
        problem = f"Maintenance last ran {ago(record.finished_at)} ago."
        yield warning("maintenance.late", "", problem, _SCHEDULE)
    if record.failed_steps:
        problem = f"{record.failed_steps} steps of the last maintenance failed."
        remedy = f"Run: python manage.py zango_ai_maintain{tenancy.schema_option(scope.schema)}"
        yield error("maintenance.failed", "", problem, remedy)


def _overdue_runs(schema: str) -> Iterator[Finding]:
    orphans = maintenance.count_orphans(schema, _OVERDUE)
    if orphans:
        problem = f"{orphans} {_runs(orphans)} lost their process, and still hold parts of budgets."
        yield error("maintenance.abandoned_runs", "", problem, _SCHEDULE)
    expired = expiry.count_expired(schema, _OVERDUE)
    if expired:
        problem = f"{expired} {_runs(expired)} not ended, although their approvals expired."
        yield error("maintenance.expired_approvals", "", problem, _SCHEDULE)


def _overdue_data(schema: str) -> Iterator[Finding]:
    """Data that is kept for longer than the settings allow."""
    conf = get_conf()
    days = (conf.payload_ttl_days, conf.invocation_ttl_days)
    overdue = retention.Retention(*(None if each is None else each + _OVERDUE_DAYS for each in days))
    kept = retention.preview(schema, overdue)
    if kept:
        yield error(
            "maintenance.retention",
            "",
            f"The log has {kept.runs} runs and the texts of {kept.texts} runs that are older than "
            "INVOCATION_TTL_DAYS or PAYLOAD_TTL_DAYS allows.",
            _SCHEDULE,
        )


def _runs(count: int) -> str:
    return "run has" if count == 1 else "runs have"


def ago(moment: datetime) -> str:
    """How long ago that was, in words: ``3 hours``."""
    minutes = int((timezone.now() - moment).total_seconds() // 60)
    for size, unit in ((60 * 24, "day"), (60, "hour"), (1, "minute")):
        if minutes >= size:
            count = minutes // size
            return f"{count} {unit}" if count == 1 else f"{count} {unit}s"
    return "less than a minute"
