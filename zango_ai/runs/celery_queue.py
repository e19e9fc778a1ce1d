"""Send queued runs to Celery. Celery is imported with the first one."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any
from uuid import UUID

from django.conf import ENVIRONMENT_VARIABLE
from django.core.exceptions import ImproperlyConfigured

TASK_NAME = "zango_ai.run"
SCHEMA_HEADER = "_schema_name"
"""The header of a task's message that names the tenant. tenant-schemas-celery uses the same one."""
INSTALL = "pip install 'zango-ai[celery]'"

_load_task: Callable[[], Any] | None = None


def register_task(load_task: Callable[[], Any]) -> None:
    """Register the function that imports the task that executes a run. ``zango_ai.apps`` calls it."""
    global _load_task
    _load_task = load_task


class CeleryQueue:
    """The project's Celery app."""

    def send(self, run_id: UUID, schema: str) -> str:
        """The task's id is the run's id."""
        require_app()
        from celery import current_app

        options = {"task_id": str(run_id), "headers": {SCHEMA_HEADER: schema}, "ignore_result": True}
        if current_app.conf.task_always_eager:  # send_task() ignores this setting; only a task itself heeds it
            assert _load_task is not None
            _load_task().apply_async([str(run_id)], **options)
        else:
            current_app.send_task(TASK_NAME, [str(run_id)], **options)
        return str(run_id)

    def require_configured(self) -> None:
        require_app()

    @property
    def executes_at_once(self) -> bool:
        from celery import current_app

        return bool(current_app.conf.task_always_eager)

    @property
    def name(self) -> str:
        return "The broker"

    @property
    def advice_if_refused(self) -> str:
        return "Check CELERY_BROKER_URL, and that the broker is running."

    @property
    def advice_if_waiting(self) -> str:
        return (
            f"Start a worker with: {worker_command()}. If one is running, it does not know the task {TASK_NAME}: "
            "call app.autodiscover_tasks() where the Celery app is created."
        )


def current_task_id() -> str | None:
    """The id of the Celery task that this code runs in, or None. Does not import Celery."""
    celery = sys.modules.get("celery")
    task = getattr(celery, "current_task", None) if celery else None
    if not task:  # outside of a task, current_task is a proxy that is false
        return None
    task_id = task.request.id
    return None if task_id is None else str(task_id)


def require_app() -> None:
    """Raise ImproperlyConfigured if the project's Celery app is not loaded or cannot reach its broker's kind."""
    if not is_installed():
        raise ImproperlyConfigured(
            f"Celery is not installed. Run: {INSTALL}. Or let Django Tasks execute background runs: set "
            "ZANGO_AI['QUEUE'] to 'tasks:' and the alias of a backend in TASKS, such as 'tasks:default'."
        )
    from celery import current_app

    # Celery's default app has a broker if the environment or a celeryconfig.py names one.
    if not (has_app() or current_app.conf.broker_url):
        raise ImproperlyConfigured(f"No Celery app is configured. {app_advice()}")
    # Celery itself fails with "'NoneType' object has no attribute 'Redis'".
    if str(current_app.conf.broker_url).startswith(("redis", "sentinel")) and find_spec("redis") is None:
        raise ImproperlyConfigured(
            "The broker is Redis, and the Python package redis is not installed. Run: pip install 'celery[redis]'"
        )


def is_installed() -> bool:
    """Whether the package Celery is installed."""
    return find_spec("celery") is not None


def has_app() -> bool:
    """Whether the project's Celery app is loaded. Without one, Celery creates a default app on localhost."""
    from celery import _state  # current_app would create the default app

    app = _state._tls.current_app or _state.default_app
    return app is not None and (app.main != "default" or app.set_as_current)


def app_advice() -> str:
    """The lines that load the project's Celery app when Django starts."""
    package = project()
    lines = 'from .celery import app as celery_app  and  __all__ = ("celery_app",)'
    advice = f"Add these two lines to {package}/__init__.py: {lines}."
    if not has_celery_module():
        advice = f'Create one in {package}/celery.py, as Celery\'s page "First steps with Django" shows. {advice}'
    return advice


def worker_command() -> str:
    return f"celery -A {project()} worker"


def project() -> str:
    """The package of the project's settings, which usually contains the Celery app."""
    package, dot, _ = os.environ.get(ENVIRONMENT_VARIABLE, "").partition(".")
    return package if dot else "yourproject"


def has_celery_module() -> bool:
    """Whether the project has a ``celery`` module."""
    try:
        return find_spec(f"{project()}.celery") is not None
    except (ImportError, ValueError):
        return False
