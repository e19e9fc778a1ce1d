"""Send queued runs to a backend of Django Tasks: ``django.tasks``, or the package django-tasks on Django 5.2."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import timedelta
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType
from typing import Any
from uuid import UUID

from django.core.exceptions import ImproperlyConfigured
from django.utils import timezone

from .. import tenancy

_MODULES = ("django.tasks", "django_tasks")
_WORKERS = {"django_tasks_db": "python manage.py db_worker"}
"""The commands that start a worker, by the package of the backend."""

_load_task: Callable[[], Any] | None = None
_thread = threading.local()
_running: ContextVar[tuple[str, ...]] = ContextVar("zango_ai_running_tasks", default=())
"""The ids of the tasks that this code runs in, the innermost last."""


def register_task(load_task: Callable[[], Any]) -> None:
    """Register the function that imports the task that executes a run. ``zango_ai.apps`` calls it."""
    global _load_task
    _load_task = load_task


@dataclass(frozen=True, slots=True)
class TasksQueue:
    """A backend of the setting ``TASKS``."""

    alias: str

    def send(self, run_id: UUID, schema: str) -> str:
        return self._enqueue(self._task(), run_id, schema)

    def send_later(self, run_id: UUID, schema: str, wait_s: float, **arguments: Any) -> str:
        """``send()`` a task that no worker takes before ``wait_s`` seconds have passed."""
        run_after = timezone.now() + timedelta(seconds=wait_s)
        return self._enqueue(self._task().using(run_after=run_after), run_id, schema, **arguments)

    def require_configured(self) -> None:
        """Raises ImproperlyConfigured."""
        self.backend()

    def backend(self) -> Any:
        """The instance of the backend. Raises ImproperlyConfigured."""
        self.backend_path()
        return require_tasks().task_backends[self.alias]

    def backend_path(self) -> str:
        """The dotted path of the backend's class. Raises ImproperlyConfigured."""
        backends = require_tasks().task_backends.settings
        if self.alias not in backends:
            known = ", ".join(repr(alias) for alias in backends)
            raise ImproperlyConfigured(
                f"ZANGO_AI['QUEUE'] is 'tasks:{self.alias}', but TASKS has no such alias. It has: {known}."
            )
        options = backends[self.alias] if isinstance(backends, Mapping) else None
        path = options.get("BACKEND") if isinstance(options, Mapping) else None
        if not isinstance(path, str):
            raise ImproperlyConfigured(f"TASKS[{self.alias!r}] names no BACKEND.")
        return path

    @property
    def queue_name(self) -> str:
        """The backend's queue that takes the runs: ``default``, or else its first one."""
        backend = self.backend()
        if not backend.queues or "default" in backend.queues:
            return "default"
        names = require_tasks().task_backends.settings[self.alias]["QUEUES"]
        return str(next(iter(names)))

    @property
    def can_defer(self) -> bool:
        """Whether the backend can execute a task later."""
        return bool(self.backend().supports_defer)

    @property
    def executes_at_once(self) -> bool:
        immediate = import_module(f"{require_tasks().__name__}.backends.immediate")
        return isinstance(self.backend(), immediate.ImmediateBackend)

    @property
    def never_executes(self) -> bool:
        return type(self.backend()).__name__ == "DummyBackend"

    @property
    def name(self) -> str:
        return f"The Tasks backend {self.alias!r}"

    @property
    def advice_if_refused(self) -> str:
        return (
            f"Check TASKS[{self.alias!r}] in the settings, and that the backend's migrations have been applied and "
            "its server is running."
        )

    @property
    def advice_if_waiting(self) -> str:
        if self.never_executes:
            return f"{self.name} is a DummyBackend, which executes no tasks."
        backend = type(self.backend())
        command = _WORKERS.get(backend.__module__.partition(".")[0])
        if command is None:
            return f"Start a worker of the Tasks backend {self.alias!r} ({_path(backend)})."
        options = "" if self.alias == "default" else f" --backend {self.alias}"
        options += "" if self.queue_name == "default" else f" --queue-name {self.queue_name}"
        return f"Start a worker with: {command}{options}."

    def _task(self) -> Any:
        self.backend()
        assert _load_task is not None
        return _load_task().using(backend=self.alias, queue_name=self.queue_name)

    def _enqueue(self, task: Any, run_id: UUID, schema: str, **arguments: Any) -> str:
        # The tables of a backend are shared by all tenants, and workers read the public schema.
        with tenancy.active(tenancy.public_schema()), _inside_enqueue():
            return str(task.enqueue(str(run_id), schema, **arguments).id)


def _path(backend: type[Any]) -> str:
    return f"{backend.__module__}.{backend.__qualname__}"


def find_tasks() -> ModuleType | None:
    """``django.tasks``, or ``django_tasks`` on Django 5.2. None if there is neither."""
    for name in _MODULES:
        if find_spec(name) is not None:
            return import_module(name)
    return None


def require_tasks() -> ModuleType:
    """Raises ImproperlyConfigured if Django is older than 6.0 and django-tasks is not installed."""
    tasks = find_tasks()
    if tasks is None:
        raise ImproperlyConfigured(
            "Django Tasks need Django 6.0, or the package django-tasks on Django 5.2. Run: pip install django-tasks"
        )
    follow_tasks(tasks)
    return tasks


def follow_tasks(tasks: ModuleType) -> None:
    """Note in which task code runs. Django Tasks have signals for it, and no function that tells it."""
    signals = import_module(f"{tasks.__name__}.signals")
    signals.task_started.connect(_note_start, dispatch_uid="zango_ai.start")
    signals.task_finished.connect(_note_end, dispatch_uid="zango_ai.end")


def current_task_id() -> str | None:
    """The id of the Django task that this code runs in, or None."""
    running = _running.get()
    return running[-1] if running else None


def _note_start(*, task_result: Any, **kwargs: Any) -> None:
    _running.set((*_running.get(), str(task_result.id)))


def _note_end(*, task_result: Any, **kwargs: Any) -> None:
    running, task_id = _running.get(), str(task_result.id)
    if task_id in running:  # also forgets tasks inside it whose end was not signalled
        _running.set(running[: running.index(task_id)])


def is_inside_enqueue() -> bool:
    """Whether this code runs inside ``send()``, as it does with Django's immediate backend."""
    return bool(getattr(_thread, "is_inside_enqueue", False))


@contextmanager
def _inside_enqueue() -> Iterator[None]:
    before = is_inside_enqueue()
    _thread.is_inside_enqueue = True
    try:
        yield
    finally:
        _thread.is_inside_enqueue = before
