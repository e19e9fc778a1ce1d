"""Tasks for Django Tasks, whose backends execute them by the path of their function.

Import this module only if the project uses Django Tasks. The Celery tasks are in ``zango_ai.tasks``.
"""

from __future__ import annotations

import time
from typing import Any
from uuid import UUID

from django.core.exceptions import ImproperlyConfigured
from django.core.management import call_command
from django.db import InterfaceError, OperationalError

from . import tenancy
from .conf import get_conf
from .exceptions import RunFailed, TenantNotActive, ZangoAIError
from .ledger import stored_runs
from .runs import background, tasks_queue
from .runs.resumption import execute_queued
from .runs.tasks_queue import TasksQueue

try:
    _tasks = tasks_queue.require_tasks()
except ImproperlyConfigured as exc:
    raise ImportError(str(exc)) from exc

_MAX_SLEEP_S = 45.0
"""With a backend that cannot execute tasks later: for how long a worker waits before it retries a run."""
_FIRST_WAIT_FOR_DATABASE_S, _MAX_WAIT_FOR_DATABASE_S = 5.0, 600.0


def _declaration() -> dict[str, str]:
    """The backend and queue of the settings. Django validates a task when it is declared."""
    setting = get_conf().queue
    if not setting.startswith("tasks:"):
        return {}
    queue = TasksQueue(setting.removeprefix("tasks:"))
    return {"backend": queue.alias, "queue_name": queue.queue_name}


@_tasks.task(takes_context=True, **_declaration())  # type: ignore[untyped-decorator]
def run_agent(context: Any, run_id: str, schema: str, database_failures: int = 0) -> None:
    """Execute a queued run of the tenant, once, even if the task is delivered twice. ``Agent.enqueue()`` queues it.

    After a rate limit, a timeout or a server error, the run is retried later from its last step. If the database
    cannot be reached before the run is claimed, the task is queued again.
    """
    result = context.task_result
    queue = TasksQueue(result.task.backend)
    try:
        with tenancy.active_tenant(_find_tenant(run_id, schema)):
            wait_s = _execute(queue, str(result.id), run_id)
            if wait_s:
                _queue_again(queue, run_id, schema, wait_s)
    except (OperationalError, InterfaceError):
        if not queue.can_defer:
            raise
        wait_s = min(_FIRST_WAIT_FOR_DATABASE_S * 2**database_failures, _MAX_WAIT_FOR_DATABASE_S)
        queue.send_later(UUID(run_id), schema, wait_s, database_failures=database_failures + 1)


@_tasks.task(**_declaration())  # type: ignore[untyped-decorator]
def maintain() -> None:
    """Run ``manage.py zango_ai_maintain``. Queue it every few minutes."""
    call_command("zango_ai_maintain")


def _find_tenant(run_id: str, schema: str) -> Any:
    tenant = tenancy.find_tenant(schema)
    if tenant is None:
        raise TenantNotActive(
            f"Run {run_id} was queued in schema {schema!r}, whose tenant no longer exists; it did not run.",
            schema=schema,
        )
    return tenant


def _execute(queue: TasksQueue, task_id: str, run_id: str) -> float:
    """Returns in how many seconds to queue the run again, or 0. Raises RunFailed if the run fails."""
    try:
        if queue.can_defer:
            return execute_queued(run_id, celery_task_id=task_id)
        if tasks_queue.is_inside_enqueue():  # in a request, for example, which should not wait
            while execute_queued(run_id, celery_task_id=task_id, can_wait=False):
                pass
        else:
            while wait_s := execute_queued(run_id, celery_task_id=task_id, max_wait_s=_MAX_SLEEP_S):
                time.sleep(wait_s)
    except ZangoAIError as exc:
        raise _without_message(exc, run_id) from None
    return 0.0


def _without_message(exc: ZangoAIError, run_id: str) -> ZangoAIError:
    """The error of a run without its message: backends may store errors outside of the tenant's schema."""
    invocation_id = getattr(exc, "invocation_id", None)
    if invocation_id is None:
        return exc
    schema = tenancy.current_schema()
    status = stored_runs.status_of(schema, UUID(run_id)) or ""
    message = f"The message is on invocation {invocation_id} of schema {schema!r}."
    return RunFailed(run_id, status, type(exc).__name__, message, invocation_id)


def _queue_again(queue: TasksQueue, run_id: str, schema: str, wait_s: float) -> None:
    try:
        task_id = queue.send_later(UUID(run_id), schema, wait_s)
    except Exception as exc:  # no worker would ever retry the run
        background.fail_unretried(run_id, schema, exc)
        raise
    stored_runs.note_sent(schema, UUID(run_id), task_id)
