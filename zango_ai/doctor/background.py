"""Whether background runs reach a worker."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.core.exceptions import ImproperlyConfigured

from ..runs import queue
from .findings import Finding, Scope, error

TIMEOUT_S = 2.0
"""How long to wait for the broker and for workers."""


def find_in_queue(scope: Scope) -> Iterator[Finding]:
    """Nothing is checked if the project has no Celery app: agents also run without one."""
    if not queue.has_app():
        return
    from celery import current_app

    try:
        queue.require_app()
    except ImproperlyConfigured as exc:
        yield error("queue.not_configured", "Celery", str(exc), "Correct the settings of Celery.")
        return
    if current_app.conf.task_always_eager:
        return
    problem = _problem_of_broker(current_app)
    if problem is not None:
        remedy = "Check CELERY_BROKER_URL, and that the broker is running."
        yield error("queue.unreachable", "the broker", problem, remedy)
        return
    yield from _workers(current_app)


def _problem_of_broker(app: Any) -> str | None:
    try:
        with app.connection_for_write(connect_timeout=TIMEOUT_S) as connection:
            connection.ensure_connection(max_retries=1, interval_start=0, timeout=TIMEOUT_S)
    except Exception as exc:  # each transport has errors of its own
        return f"It cannot be reached ({type(exc).__name__})."
    return None


def _workers(app: Any) -> Iterator[Finding]:
    registered = app.control.inspect(timeout=TIMEOUT_S).registered()
    if not registered:
        yield error(
            "queue.no_worker",
            "Celery",
            f"No worker has answered within {TIMEOUT_S:.0f} seconds, so background runs wait.",
            f"Start one with: {queue.worker_command()}",
        )
    elif not any(queue.TASK_NAME in (each.split(" ")[0] for each in tasks) for tasks in registered.values()):
        yield error(
            "queue.unknown_task",
            f"workers {', '.join(sorted(registered))}",
            f"No worker knows the task {queue.TASK_NAME}.",
            "Call app.autodiscover_tasks() where the Celery app is created, and restart the workers.",
        )
