"""Whether the backend of Django Tasks that ``ZANGO_AI["QUEUE"]`` names executes background runs."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from importlib.util import find_spec
from typing import Any

from django.apps import apps
from django.core.exceptions import FieldDoesNotExist
from django.db import connections, router
from django.db.models import Model, Q
from django.utils import timezone

from .. import tenancy
from ..runs.tasks_queue import TasksQueue
from .activity import ago
from .findings import Finding, error
from .migrations import unapplied

_WAITS_TOO_LONG = timedelta(minutes=2)
"""A worker that has nothing else to do takes a task within seconds."""
_LONGEST_TASK = timedelta(hours=1)
"""A task that has been running for longer may have lost its worker."""


def find_in_tasks(queue: TasksQueue) -> Iterator[Finding]:
    where = f"Tasks backend {queue.alias}"
    if queue.never_executes:
        yield error(
            "queue.never_executes",
            where,
            "It is a DummyBackend, which executes no tasks, so background runs wait forever.",
            f"Set TASKS[{queue.alias!r}] to a backend with workers, such as django_tasks_db.DatabaseBackend.",
        )
        return
    package = _package_with_models(type(queue.backend()))
    if package is None:
        return  # its tasks are not in the database
    with tenancy.active(tenancy.public_schema()):  # where workers look for tasks
        found = list(_find_in_database(queue, package, where))
    yield from found


def _package_with_models(backend: type[Any]) -> str | None:
    """The package that has the backend's models, whether it is installed as an app or not.

    A project may subclass a backend, so the base class decides.
    """
    for owner in reversed(backend.__mro__):
        package = owner.__module__.rpartition(".")[0]
        while package:
            if find_spec(f"{package}.models") is not None:
                return package
            package = package.rpartition(".")[0]
    return None


def _find_in_database(queue: TasksQueue, package: str, where: str) -> Iterator[Finding]:
    app = next((each for each in apps.get_app_configs() if each.name == package), None)
    command = "python manage.py migrate" + ("_schemas --shared" if tenancy.has_tenants() else "")
    if app is None:
        setting = "SHARED_APPS" if tenancy.has_tenants() else "INSTALLED_APPS"
        problem = f"The app {package} is not installed, so there is no table of tasks, and enqueue() fails."
        yield error("queue.no_app", where, problem, f"Add {package!r} to {setting}, and run: {command}")
        return
    model = next((each for each in app.get_models() if _has_field(each, "queue_name")), None)
    if model is None:
        return
    table, connection = model._meta.db_table, connections[router.db_for_write(model)]
    if table not in connection.introspection.table_names():
        schema = f" in the schema {tenancy.public_schema()}" if tenancy.has_tenants() else ""
        problem = f"The table {table} does not exist{schema}, so enqueue() fails."
        yield error("queue.no_table", where, problem, f"Run: {command}")
        return
    missing = unapplied(connection, app.label)
    if missing:
        problem = f"These migrations of {package} are not applied: {', '.join(missing)}."
        yield error("queue.unapplied", where, problem, f"Run: {command}")
        return
    yield from _find_workers(queue, model, where)


def _has_field(model: type[Model], name: str) -> bool:
    try:
        model._meta.get_field(name)
    except FieldDoesNotExist:
        return False
    return True


def _find_workers(queue: TasksQueue, model: type[Model], where: str) -> Iterator[Finding]:
    """A worker leaves no trace but the tasks that it starts, so only tasks that wait show that there is none."""
    tasks = model._default_manager.filter(backend_name=queue.alias)
    if not hasattr(tasks, "ready"):
        return
    now = timezone.now()
    since = now - _WAITS_TOO_LONG
    ours = tasks.filter(queue_name=queue.queue_name)
    became_due_since = Q(run_after__gt=since, run_after__lte=now)
    waiting = ours.ready().filter(enqueued_at__lt=since).exclude(became_due_since)
    count = waiting.count()
    is_busy = tasks.filter(status="RUNNING", started_at__gt=now - _LONGEST_TASK).exists()
    if count == 0 or is_busy or ours.filter(started_at__gt=since).exists():
        return
    tasks_wait = "1 task waits" if count == 1 else f"{count} tasks wait"
    oldest = ago(waiting.earliest("enqueued_at").enqueued_at)
    since_when = f"in its queue {queue.queue_name!r}, the oldest for {oldest}"
    problem = f"{tasks_wait} {since_when}, and no worker has started one."
    yield error("queue.no_worker", where, problem, queue.advice_if_waiting)
