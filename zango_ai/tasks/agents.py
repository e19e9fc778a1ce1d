"""The task that executes a queued run. ``Agent.enqueue()`` sends it."""

from __future__ import annotations

from celery.exceptions import Retry
from django.db import InterfaceError, OperationalError

from .. import tenancy
from ..runs import background, celery_queue
from ..runs.resumption import execute_queued
from .base import BaseTask


class RunAgent(BaseTask):
    """Executes the run once, even if the message is delivered twice: a worker must claim the run's row first.

    After a rate limit, a timeout or a server error, the run is retried later from its last step. If the database
    cannot be reached before the run is claimed, Celery retries the task.
    """

    name = celery_queue.TASK_NAME
    acks_late = True
    reject_on_worker_lost = True
    ignore_result = True
    autoretry_for = (OperationalError, InterfaceError)
    retry_backoff = 5
    retry_kwargs = {"max_retries": None}

    def run(self, run_id: str) -> None:
        wait_s = execute_queued(run_id, celery_task_id=self.request.id, can_wait=not self.request.is_eager)
        if not wait_s:
            return
        try:
            self.retry(countdown=wait_s, max_retries=None)
        except Retry:
            raise
        except Exception as exc:  # without the broker, no worker would ever retry the run
            background.fail_unretried(run_id, tenancy.current_schema(), exc)
            raise
