"""Who is calling: a web request, a shell, or a Celery task."""

from __future__ import annotations

import sys


def current_celery_task_id() -> str | None:
    """The id of the Celery task that this code runs in; None outside of one. Does not import Celery."""
    celery = sys.modules.get("celery")
    task = getattr(celery, "current_task", None) if celery else None
    if not task:  # a proxy, which is false where there is no task
        return None
    task_id = task.request.id
    return None if task_id is None else str(task_id)
