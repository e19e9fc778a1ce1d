"""Hand a queued run to Celery. Celery is imported when the first is."""

from __future__ import annotations

from importlib import import_module
from uuid import UUID

TASK_NAME = "zango_ai.run"
SCHEMA_HEADER = "_schema_name"
"""What names the tenant in a task's message; tenant-schemas-celery's, so that its apps may write it as well."""


def send(run_id: UUID, schema: str) -> str:
    """Send the task that goes on with the run, with the run's id as its own; that id. Raises what Celery does."""
    from celery import current_app

    options = {"task_id": str(run_id), "headers": {SCHEMA_HEADER: schema}, "ignore_result": True}
    if current_app.conf.task_always_eager:  # which only a task itself heeds, and nobody may have imported it
        import_module("zango_ai.tasks").RunAgent.apply_async([str(run_id)], **options)
    else:
        current_app.send_task(TASK_NAME, [str(run_id)], **options)
    return str(run_id)
