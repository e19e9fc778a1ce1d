"""The queues that execute background runs in the tests: Celery with Redis, and two backends of Django Tasks.

The tests of ``tests/db/background`` use them through the fixture ``queue``.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from celery import current_app
from django.conf import settings
from django.contrib import admin
from django.core.management import call_command
from django.db import connection
from django.test import override_settings

from tests.together import wait_until
from tests.workers import Worker, tasks_worker, worker
from zango_ai.runs import tasks_queue

APP = "django_tasks_db"
_backends = f"{tasks_queue.require_tasks().__name__}.backends"
_immediate, _dummy = (import_module(f"{_backends}.{name}") for name in ("immediate", "dummy"))


class ThreadBackend(_immediate.ImmediateBackend):  # type: ignore[name-defined,misc]
    """Executes each task in a thread of its own. Like the immediate backend, it cannot execute tasks later."""

    def _execute_task(self, task_result: Any) -> None:
        threading.Thread(target=self._execute_in_thread, args=[task_result]).start()

    def _execute_in_thread(self, task_result: Any) -> None:
        super()._execute_task(task_result)
        connection.close()


def tasks_settings() -> dict[str, dict[str, Any]]:
    """The setting ``TASKS``, with a backend of each kind. ``lost`` has no worker."""
    database = f"{APP}.DatabaseBackend"
    return {
        "database": {"BACKEND": database, "QUEUES": ["agents", "other"]},
        "lost": {"BACKEND": database},
        "immediate": {"BACKEND": f"{_backends}.immediate.ImmediateBackend"},
        "dummy": {"BACKEND": f"{_backends}.dummy.DummyBackend"},
        "away": {"BACKEND": f"{__name__}.Away"},
        "refuses_retries": {"BACKEND": f"{__name__}.RefusesRetries"},
        "no_worker": {"BACKEND": f"{__name__}.NoWorker"},
        "threads": {"BACKEND": f"{__name__}.ThreadBackend"},
    }


def create_tasks_table() -> None:
    """As ``migrate_schemas --shared`` does in a project that has the app. The app is not installed afterwards."""
    apps = {name: [*getattr(settings, name), APP] for name in ("SHARED_APPS", "INSTALLED_APPS")}
    with override_settings(**apps):
        from django_tasks_db.models import DBTaskResult

        call_command("migrate_schemas", "django_tasks_database", schema_name="public", verbosity=0)
        if admin.site.is_registered(DBTaskResult):
            admin.site.unregister(DBTaskResult)


def stored_tasks() -> Any:
    """The tasks in the database, in order."""
    from django_tasks_db.models import DBTaskResult

    return DBTaskResult.objects.order_by("enqueued_at")


def delete_tasks() -> None:
    """Delete the tasks when the worker has stored their results. It would end if it could not store one."""

    def delete(condition: str) -> None:
        with connection.cursor() as cursor:
            cursor.execute(f"DELETE FROM public.django_tasks_database_dbtaskresult WHERE {condition}")

    def is_idle() -> bool:
        delete("status <> 'RUNNING'")  # in one statement, so that the worker cannot take a task meanwhile
        return not stored_tasks().filter(backend_name="database").exists()

    wait_until(is_idle)
    delete("true")


class NoWorker(_dummy.DummyBackend):  # type: ignore[name-defined,misc]
    """Any other backend whose worker is not running."""


class RefusesRetries(_immediate.ImmediateBackend):  # type: ignore[name-defined,misc]
    """A backend whose server goes away while a run is executed."""

    supports_defer = True

    def enqueue(self, task: Any, *args: Any) -> Any:
        if task.run_after is not None:
            raise OSError("Connection refused.")
        return super().enqueue(task, *args)


class Away(_dummy.DummyBackend):  # type: ignore[name-defined,misc]
    """A backend whose server is not running."""

    def enqueue(self, *args: Any) -> Any:
        raise OSError("Connection refused.")


@dataclass
class CeleryRedis:
    """Celery with Redis. ``broker`` is the address of the Redis."""

    broker: str
    name: str = "celery"
    is_immediate: bool = False

    def deliver_again(self, run_id: Any) -> None:
        current_app.send_task("zango_ai.run", [str(run_id)], headers={"_schema_name": connection.schema_name})

    def without_worker(self) -> None:
        """From now on, no worker takes what is queued."""
        current_app.conf.task_default_queue = "lost"

    def with_worker(self) -> None:
        current_app.conf.task_default_queue = "threads"

    @contextmanager
    def late_worker(self, *arguments: str) -> Iterator[Worker]:
        """A worker for what was queued ``without_worker()``. It is ready."""
        with worker(self.broker, "lost", *(arguments or ("--pool", "threads", "-c", "1"))) as late:
            late.wait_until_ready()
            yield late


@dataclass
class DjangoTasks:
    """A backend of Django Tasks."""

    name: str
    settings: Any

    @property
    def is_immediate(self) -> bool:
        return self.name == "immediate"

    def use(self, alias: str) -> None:
        self.settings.ZANGO_AI = {**self.settings.ZANGO_AI, "QUEUE": f"tasks:{alias}"}

    def deliver_again(self, run_id: Any) -> None:
        from zango_ai.runs import queue

        queue.configured().send(run_id, connection.schema_name)

    def without_worker(self) -> None:
        self.use("lost")

    def with_worker(self) -> None:
        self.use(self.name)

    @contextmanager
    def late_worker(self) -> Iterator[Worker]:
        with tasks_worker("lost", tasks=tasks_settings()) as late:
            late.wait_until_ready()
            yield late
