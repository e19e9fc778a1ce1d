"""Periodic work as Celery tasks, for a beat schedule.

Each goes through all tenants, and a failure in one stops no other.
"""

from __future__ import annotations

from celery import shared_task
from django.core.management import call_command


@shared_task(name="zango_ai.maintain", ignore_result=True)  # type: ignore[untyped-decorator]
def maintain() -> None:
    """``manage.py zango_ai_maintain``: every few minutes."""
    call_command("zango_ai_maintain")
