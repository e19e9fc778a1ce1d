"""Maintenance as a Celery task for a beat schedule. It covers all tenants; a failure in one does not stop it."""

from __future__ import annotations

from celery import shared_task
from django.core.management import call_command


@shared_task(name="zango_ai.maintain", ignore_result=True)  # type: ignore[untyped-decorator]
def maintain() -> None:
    """Run ``manage.py zango_ai_maintain``. Schedule it every few minutes."""
    call_command("zango_ai_maintain")
