"""The queue of background runs that ``ZANGO_AI["QUEUE"]`` names: Celery, or a backend of Django Tasks."""

from __future__ import annotations

from typing import Protocol
from uuid import UUID

from django.core.exceptions import ImproperlyConfigured

from ..conf import get_conf
from . import celery_queue, tasks_queue
from .celery_queue import CeleryQueue
from .tasks_queue import TasksQueue


class Queue(Protocol):
    def send(self, run_id: UUID, schema: str) -> str: ...

    def require_configured(self) -> None:
        """Raise ImproperlyConfigured if tasks cannot be sent, as far as the settings tell."""

    @property
    def executes_at_once(self) -> bool:
        """Whether ``send()`` executes the run. Only for a queue that is configured."""

    @property
    def name(self) -> str:
        """What the queue is called in messages, as the subject of a sentence."""

    @property
    def advice_if_refused(self) -> str:
        """What to check if the queue does not accept a task."""

    @property
    def advice_if_waiting(self) -> str:
        """What to do if no worker takes a task."""


def configured() -> Queue:
    """The queue of the settings. Nothing is imported or checked yet."""
    name = get_conf().queue
    return CeleryQueue() if name == "celery" else TasksQueue(name.removeprefix("tasks:"))


def send(run_id: UUID, schema: str) -> str:
    """Send the task that executes the run, and return the task's id.

    Raises ImproperlyConfigured, and the errors of the queue.
    """
    return configured().send(run_id, schema)


def is_available() -> bool:
    """Whether tasks can be sent, as far as the settings tell."""
    try:
        configured().require_configured()
    except ImproperlyConfigured:
        return False
    return True


def has_workers() -> bool:
    """Whether tasks can be sent and other processes execute them, as far as the settings tell."""
    return is_available() and not configured().executes_at_once


def current_task_id() -> str | None:
    """The id of the Celery or Django task that this code runs in, or None. Imports neither."""
    return celery_queue.current_task_id() or tasks_queue.current_task_id()
