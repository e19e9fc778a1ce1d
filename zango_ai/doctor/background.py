"""Whether background runs reach a worker."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

from ..runs import celery_queue, queue
from ..runs.tasks_queue import TasksQueue
from .findings import Finding, Scope, error
from .tasks_backend import find_in_tasks

TIMEOUT_S = 2.0
"""How long to wait for the broker and for workers."""


def find_in_queue(scope: Scope) -> Iterator[Finding]:
    """Nothing is checked if there is no Celery app and the settings name no queue: agents also run without one."""
    used = queue.configured()
    uses_celery = isinstance(used, celery_queue.CeleryQueue)
    has_celery = celery_queue.is_installed() and celery_queue.has_app()
    if uses_celery and not has_celery and "QUEUE" not in getattr(settings, "ZANGO_AI", {}):
        return
    name = "Celery" if uses_celery else "Django Tasks"
    try:
        used.require_configured()
    except ImproperlyConfigured as exc:
        yield error("queue.not_configured", name, str(exc), f"Correct the settings of {name}.")
        return
    if isinstance(used, TasksQueue):
        yield from find_in_tasks(used)
    elif not scope.is_offline:
        yield from _find_in_celery()


def _find_in_celery() -> Iterator[Finding]:
    from celery import current_app

    if current_app.conf.task_always_eager:
        return
    problem = _problem_of_broker(current_app)
    if problem is not None:
        yield error("queue.unreachable", "the broker", problem, queue.configured().advice_if_refused)
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
            f"Start one with: {celery_queue.worker_command()}",
        )
    elif not any(celery_queue.TASK_NAME in (each.split(" ")[0] for each in tasks) for tasks in registered.values()):
        yield error(
            "queue.unknown_task",
            f"workers {', '.join(sorted(registered))}",
            f"No worker knows the task {celery_queue.TASK_NAME}.",
            "Call app.autodiscover_tasks() where the Celery app is created, and restart the workers.",
        )
