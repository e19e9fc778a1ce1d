"""The task that goes on with a queued run: what ``agent.enqueue()`` sends."""

from __future__ import annotations

from uuid import UUID

from celery.exceptions import Retry
from django.db import InterfaceError, OperationalError

from .. import tenancy
from ..agent import execute_queued
from ..ledger import stored_runs
from ..runs import queue
from .base import BaseTask


class RunAgent(BaseTask):
    """Runs the agent once, however often it is delivered: a run goes on for whoever claims its row.

    A rate limit, a timeout or a fault of the provider's is tried again later, from where the run stood; and before
    the run is claimed, a database that is away.
    """

    name = queue.TASK_NAME
    acks_late = True
    reject_on_worker_lost = True
    ignore_result = True
    autoretry_for = (OperationalError, InterfaceError)
    retry_backoff = 5
    retry_kwargs = {"max_retries": None}

    def run(self, run_id: str) -> None:
        wait_s = execute_queued(run_id, celery_task_id=self.request.id, waits=not self.request.is_eager)
        if not wait_s:
            return
        try:
            self.retry(countdown=wait_s, max_retries=None)
        except Retry:
            raise
        except Exception as exc:  # the broker is away: nobody would ever try it again
            words = f"It was to be tried again, and the broker did not take the task ({type(exc).__name__})."
            stored_runs.give_up(tenancy.current_schema(), UUID(run_id), error_type="QueueUnavailable", words=words)
            raise
