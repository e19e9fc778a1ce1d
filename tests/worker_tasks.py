"""What the workers of the tests can do."""

import os
import signal
import threading
import time

from celery import shared_task
from django.db import connection

from tests.schemas import active_schema
from zango_ai import ToolSafety, get_agent, tool
from zango_ai.tasks import BaseTask


class Ask(BaseTask):
    """Run the agent; return the tenant and the run's id."""

    name = "tests.ask"

    def run(self, question):
        response = get_agent("helper").run(question)
        return active_schema().title(), response.invocation_id


class AskWithTools(BaseTask):
    """Run the agent; return what became of its calls."""

    name = "tests.ask_with_tools"

    def run(self, question):
        return [call.status for call in get_agent("helper").run(question).tool_calls]


@tool(description="Loop in Python.", timeout_seconds=0.3)
def loop_in_worker() -> None:
    while True:
        sum(range(1000))


@tool(description="Wait in SQL.", timeout_seconds=0.3)
def wait_in_worker() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_sleep(60)")


@tool(description="Act outside.", safety=ToolSafety.EXTERNAL)
def act_once(where: str, dies: bool = False) -> str:
    if dies:
        with open(where, "a") as handle:
            handle.write("x")
        os.kill(os.getpid(), signal.SIGKILL)
    return "done"


@tool(description="Record a patient.", safety=ToolSafety.WRITE, requires_approval=True)
def record_in_worker(name: str) -> str:
    return name


class Where(BaseTask):
    """Return the schema and what was given."""

    name = "tests.where"

    def run(self, said=None):
        return [active_schema(), said]


class Fail(BaseTask):
    """Told to be tried again for ever."""

    name = "tests.fail"
    autoretry_for = (Exception,)
    acks_late = True
    max_retries = None
    default_retry_delay = 0
    retry_backoff = False

    def run(self):
        if self.request.retries < 2:
            raise RuntimeError(f"no {self.request.retries}")
        return [active_schema(), self.request.retries]


class FailAndTell(BaseTask):
    """Its handler of failures queues another task."""

    name = "tests.fail_and_tell"

    def run(self):
        raise RuntimeError("no")

    def on_failure(self, exc, task_id, args, kwargs, einfo):
        Where.apply_async(task_id=f"after-{task_id}", queue=self.request.delivery_info["routing_key"])


class Everywhere(BaseTask):
    name = "tests.everywhere"
    every_tenant = True

    def run(self, said):
        delivery = self.request.delivery_info
        return [active_schema(), said, delivery["routing_key"], self.request.timelimit]


@shared_task(name="tests.left_in", tenant_databases=())
def left_in():
    """The schema that the worker's thread was left in, which no task has set."""
    time.sleep(0.05)
    return [threading.get_ident(), active_schema()]
