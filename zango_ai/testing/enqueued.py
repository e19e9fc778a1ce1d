"""Execute queued runs in the test's own process, without a broker and a worker."""

from __future__ import annotations

from contextlib import suppress
from uuid import UUID

from django.db.models import QuerySet

from .. import tenancy
from ..conf import get_conf
from ..exceptions import ZangoAIError
from ..models import Invocation
from ..runs import queue
from ..runs.resumption import execute_queued


def run_enqueued(agent_name: str | None = None) -> list[UUID]:
    """Execute the active tenant's queued runs, oldest first, and return their ids. ``agent_name``: only its runs.

    A run that is retried after an error is executed again at once. The error of a run that fails is on the run:
    ``EnqueuedRun.response()`` raises it.
    """
    done: list[UUID] = []
    while (run_id := _next(agent_name, done)) is not None:
        done.append(run_id)
        for _attempt in range(get_conf().background_retries + 1):
            _execute(run_id)
            if not _queued(agent_name).filter(run_id=run_id).exists():
                break
    return done


def count_queued(agent_name: str | None = None) -> int:
    """How many runs of the active tenant are queued; 0 if no tenant is active."""
    return 0 if tenancy.is_public(tenancy.current_schema()) else _queued(agent_name).count()


def is_executed_at_once() -> bool:
    """Whether the queue executes a run as it is sent: eager Celery, or an immediate backend of Django Tasks."""
    return queue.is_available() and queue.configured().executes_at_once


def _next(agent_name: str | None, done: list[UUID]) -> UUID | None:
    runs = _queued(agent_name).exclude(run_id__in=done).order_by("pk")
    run_id: UUID | None = runs.values_list("run_id", flat=True).first()
    return run_id


def _queued(agent_name: str | None) -> QuerySet[Invocation]:
    runs = Invocation.objects.filter(status=Invocation.Status.QUEUED)
    return runs if agent_name is None else runs.filter(agent_name=agent_name)


def _execute(run_id: UUID) -> None:
    with suppress(ZangoAIError):  # a worker would log it; the run's row has it
        execute_queued(str(run_id), celery_task_id=str(run_id), can_wait=False)
