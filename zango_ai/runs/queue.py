"""Hand a queued run to Celery. Celery is imported when the first is."""

from __future__ import annotations

import os
from importlib import import_module
from importlib.util import find_spec
from uuid import UUID

from django.conf import ENVIRONMENT_VARIABLE
from django.core.exceptions import ImproperlyConfigured

TASK_NAME = "zango_ai.run"
SCHEMA_HEADER = "_schema_name"
"""What names the tenant in a task's message; tenant-schemas-celery's, so that its apps may write it as well."""


def send(run_id: UUID, schema: str) -> str:
    """Send the task that goes on with the run, with the run's id as its own; that id.

    Raises ImproperlyConfigured, and what Celery does.
    """
    from celery import current_app

    require_app()
    options = {"task_id": str(run_id), "headers": {SCHEMA_HEADER: schema}, "ignore_result": True}
    if current_app.conf.task_always_eager:  # which only a task itself heeds, and nobody may have imported it
        import_module("zango_ai.tasks").RunAgent.apply_async([str(run_id)], **options)
    else:
        current_app.send_task(TASK_NAME, [str(run_id)], **options)
    return str(run_id)


def require_app() -> None:
    """Raises ImproperlyConfigured where the project's Celery app is not loaded, or lacks its client for Redis."""
    from celery import current_app

    # The app that Celery creates by itself has a broker where the environment or a celeryconfig.py names one.
    if not (has_app() or current_app.conf.broker_url):
        raise ImproperlyConfigured(f"No Celery app is configured. {app_advice()}")
    # Celery itself fails with "'NoneType' object has no attribute 'Redis'".
    if str(current_app.conf.broker_url).startswith(("redis", "sentinel")) and find_spec("redis") is None:
        raise ImproperlyConfigured(
            "The broker is Redis, and the Python package redis is not installed. Run: pip install 'celery[redis]'"
        )


def has_app() -> bool:
    """Whether the project's Celery app is loaded. Celery creates one of its own otherwise, on localhost."""
    from celery import _state  # current_app would create that

    app = _state._tls.current_app or _state.default_app
    return app is not None and (app.main != "default" or app.set_as_current)


def app_advice() -> str:
    """Which lines load the project's Celery app whenever Django starts."""
    package = project()
    lines = 'from .celery import app as celery_app  and  __all__ = ("celery_app",)'
    advice = f"Add these two lines to {package}/__init__.py: {lines}."
    if not has_celery_module():
        advice = f'Make one in {package}/celery.py, as Celery\'s page "First steps with Django" shows. {advice}'
    return advice


def worker_command() -> str:
    return f"celery -A {project()} worker"


def project() -> str:
    """The package of the project's settings, in which Celery's app usually is."""
    package, dot, _ = os.environ.get(ENVIRONMENT_VARIABLE, "").partition(".")
    return package if dot else "yourproject"


def has_celery_module() -> bool:
    """Whether the project has a module for its Celery app."""
    try:
        return find_spec(f"{project()}.celery") is not None
    except (ImportError, ValueError):
        return False
