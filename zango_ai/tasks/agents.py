"""The task that goes on with a queued run: what ``agent.enqueue()`` sends."""

from __future__ import annotations

from .. import queueing, tenancy
from ..agent import execute_queued
from ..conf import get_conf
from ..exceptions import ZangoAIError
from ..retrying import Retries
from .base import BaseTask


class RunAgent(BaseTask):
    """Runs the agent once, however often it is delivered: a run goes on for whoever claims its row.

    A rate limit, a timeout or a fault of the provider's is tried again later, from where the run stood.
    """

    name = queueing.TASK_NAME
    acks_late = True
    reject_on_worker_lost = True
    ignore_result = True

    def run(self, run_id: str) -> None:
        retries = Retries(self.request.retries, get_conf().background_retries)
        try:
            execute_queued(tenancy.current_schema(), run_id, celery_task_id=self.request.id, retries=retries)
        except ZangoAIError as exc:
            if not retries.allow(exc):
                raise
            raise self.retry(exc=exc, countdown=retries.wait_s(exc), max_retries=retries.most) from exc
