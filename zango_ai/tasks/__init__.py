"""Celery tasks: ``BaseTask`` for an application's own, and those of this package."""

from __future__ import annotations

from ..runs import celery_queue

if not celery_queue.is_installed():
    raise ImportError(
        f"zango_ai.tasks needs Celery, which is not installed. Run: {celery_queue.INSTALL}. The tasks for Django "
        "Tasks are in zango_ai.django_tasks."
    )

from .agents import RunAgent
from .base import BaseTask
from .maintenance import maintain

__all__ = ["BaseTask", "RunAgent", "maintain"]
