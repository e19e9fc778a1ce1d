"""Tasks of an application, through real workers: the tenant that queues one is the tenant that it runs in."""

import json
import time
from datetime import date

import pytest
import redis
from celery import Celery, chain, current_app
from celery.result import AsyncResult
from django.db import connection, transaction
from django_tenants.utils import schema_context
from patients.models import Patient
from patients.tasks import NightlyPatientSummaryTask
from tenant_schemas_celery.app import CeleryApp
from tenants.models import Clinic

from tests.build import make_agent, make_agent_with, make_prompt
from tests.worker_tasks import (
    Ask,
    AskWithTools,
    Everywhere,
    Fail,
    FailAndTell,
    Where,
    left_in,
    loop_in_worker,
    wait_in_worker,
)
from tests.workers import app, ended, got
from zango_ai.exceptions import TenantNotActive
from zango_ai.models import Invocation
from zango_ai.tasks import BaseTask
from zango_ai.testing import Call, Reply

pytestmark = pytest.mark.usefixtures("live_tenants", "queueing")

QUEUES = ("prefork", "threads", "plain")
every_queue = pytest.mark.parametrize("queue", QUEUES)


@pytest.fixture(params=[CeleryApp])
def queueing(request, workers, redis_url):
    """The app that the test queues with."""
    with app(redis_url, request.param) as made:
        yield made


def queue_in(schema, task, *args, **options):
    with schema_context(schema):
        return task.apply_async(args, **options)


def where_threads_are(queue):
    """The schemas that the worker's threads or processes are in, between tasks."""
    results = [left_in.apply_async(queue=queue) for _ in range(12)]
    return {schema for _, schema in map(got, results)}


@every_queue
def test_a_task_runs_in_the_schema_that_queued_it_and_leaves_it(queue):
    assert got(queue_in("north", Where, "x", queue=queue)) == ["north", "x"]
    assert got(queue_in("south", Where, "y", queue=queue)) == ["south", "y"]
    assert where_threads_are(queue) == {"public"}


@pytest.mark.parametrize("queueing", [Celery, CeleryApp], indirect=True)
def test_a_task_is_queued_by_its_class_by_its_name_and_as_a_signature(queueing):
    with schema_context("north"):
        queued = [
            queueing.send_task(Where.name, ["x"], queue="plain"),
            queueing.send_task("tests.where", ["x"], queue="threads"),
            Where.s("x").apply_async(queue="plain"),
            Where.si("x").set(queue="threads").delay(),
        ]
    for result in queued:
        assert got(result) == ["north", "x"]


@every_queue
def test_a_tool_that_takes_too_long_is_stopped_in_a_worker_too(model, queue):
    calls = [Call("loop_in_worker"), Call("wait_in_worker"), Call("loop_in_worker")]
    with schema_context("north"):
        make_agent_with(model, loop_in_worker, wait_in_worker)
    model.script(Reply(calls=calls), "done")
    assert got(queue_in("north", AskWithTools, "hi", queue=queue)) == ["timeout"] * 3


def test_forty_tasks_of_two_tenants_write_each_into_its_own(model):
    for schema in ("north", "south"):
        with schema_context(schema):
            make_agent(model)
    queued = {}
    for number in range(40):
        schema = ("north", "south")[number % 2]
        question = f"{schema} {number}"
        queued[question] = queue_in(schema, Ask, question, queue=("prefork", "threads")[number // 2 % 2])
    told = {question: got(result) for question, result in queued.items()}
    for schema in ("north", "south"):
        with schema_context(schema):
            rows = {row.rendered_user_prompt: row for row in Invocation.objects.all()}
            assert sorted(rows) == sorted(question for question in queued if question.startswith(schema))
            for question, row in rows.items():
                assert (row.triggered_by, row.celery_task_id) == ("task", queued[question].id)
                assert told[question] == [schema.title(), row.pk]
                assert row.status == "success"
    assert where_threads_are("prefork") == where_threads_are("threads") == {"public"}


@every_queue
def test_a_task_that_fails_leaves_the_schema_and_is_retried_in_it(queue):
    assert got(queue_in("south", Fail, queue=queue)) == ["south", 2]
    failed = queue_in("north", FailAndTell, queue=queue)
    with pytest.raises(RuntimeError):
        got(failed)
    assert got(AsyncResult(f"after-{failed.id}")) == ["north", None]
    assert where_threads_are(queue) == {"public"}


@every_queue
def test_what_follows_a_task_in_a_chain_is_of_the_same_tenant(queue):
    with schema_context("north"):
        steps = [Where.si("first").set(queue=queue), Where.s().set(queue=queue), Where.s().set(queue=queue)]
        last = chain(*steps).apply_async()
    assert got(last) == ["north", ["north", ["north", "first"]]]


@pytest.fixture
def gone():
    """The schema of a tenant that is deleted; django-tenants keeps the schema itself."""
    clinic = Clinic(schema_name="gone", name="Gone")
    clinic.auto_create_schema = False
    clinic.save(verbosity=0)
    with connection.cursor() as cursor:
        cursor.execute("CREATE SCHEMA gone")
    clinic.delete()
    yield "gone"
    with connection.cursor() as cursor:
        cursor.execute("DROP SCHEMA gone")


@every_queue
def test_a_task_of_a_tenant_that_is_gone_fails_once_and_says_so(queue, gone, redis_url, workers):
    """Though the task is to be retried for ever, whatever happens."""
    result = queue_in(gone, Fail, queue=queue)
    with pytest.raises(
        TenantNotActive, match=r"'tests.fail' was queued in schema 'gone', whose tenant no longer exists"
    ):
        got(result)
    assert nothing_waits(queue, redis_url)
    assert where_threads_are(queue) == {"public"}
    # tenant-schemas-celery's handler has left the task alone.
    assert "Signal handler" not in workers[queue].log.read_text()


@every_queue
def test_a_task_that_no_tenant_queued_fails_once_and_says_what_to_do(queue, redis_url):
    result = current_app.send_task(Fail.name, queue=queue)
    with pytest.raises(TenantNotActive, match=r"while no tenant was active.*_schema_name.*every_tenant = True"):
        got(result)
    assert nothing_waits(queue, redis_url)
    assert got(queue_in("public", Where, queue=queue, headers={"_schema_name": "north"})) == ["north", None]


@pytest.mark.parametrize(
    "queue_it",
    [
        Where.delay,
        Where.apply_async,
        Where.delay_on_commit,
        Where.apply_async_on_commit,
        lambda: Where.si().delay(),
    ],
)
def test_a_task_is_not_queued_where_no_tenant_is_active(queueing, queue_it, redis_url):
    queueing.conf.task_default_queue = "unused"
    with pytest.raises(TenantNotActive, match=r"'tests.where' cannot be queued.*tenant_context.*every_tenant"):
        queue_it()
    with pytest.raises(TenantNotActive, match="cannot be queued"):
        Where.apply_async(headers={"_schema_name": "public"})
    with redis.Redis.from_url(redis_url) as client:
        assert client.llen("unused") == 0


def nothing_waits(queue, redis_url):
    """Soon no message of the queue is to be delivered, or was delivered and not acknowledged.

    Runs of other tests may wait in a worker for their next attempt.
    """
    deadline = time.monotonic() + 10
    with redis.Redis.from_url(redis_url) as client:
        while client.llen(queue) or any(_is_test_task(each, queue) for each in client.hvals("unacked")):
            if time.monotonic() > deadline:
                return False
            time.sleep(0.02)
    return True


def _is_test_task(unacknowledged, queue):
    message, _exchange, routing_key = json.loads(unacknowledged)
    return routing_key == queue and message["headers"]["task"].startswith("tests.")


@every_queue
def test_a_task_for_every_tenant_is_queued_in_each_as_it_was_queued_itself(queue):
    everywhere = queue_in("public", Everywhere, "x", queue=queue, soft_time_limit=50, time_limit=60, expires=300)
    assert got(everywhere) == 2
    assert [got(child) for child in ended(everywhere).children] == [
        ["north", "x", queue, [60, 50]],
        ["south", "x", queue, [60, 50]],
    ]
    assert got(queue_in("south", Everywhere, "x", queue=queue))[0] == "south"


def test_the_example_summarises_its_flagged_patients_in_every_clinic(model):
    for schema, name in (("north", "Ada"), ("south", "Miriam")):
        with schema_context(schema):
            make_agent(
                model,
                "patient-summary",
                system_prompt=make_prompt("You work at {{ clinic }}.", "system"),
                user_prompt=make_prompt("{{ history }}\n{{ question }}"),
            )
            Patient.objects.create(name=name, born=date(1957, 3, 9), flagged_for_review=True)
            Patient.objects.create(name="Jonas", born=date(1988, 11, 21))
    nightly = NightlyPatientSummaryTask.apply_async(queue="threads")
    assert got(nightly) == 2
    assert [got(child) for child in ended(nightly).children] == [None, None]
    for schema, name in (("north", "Ada"), ("south", "Miriam")):
        with schema_context(schema):
            summaries = dict(Patient.objects.values_list("name", "ai_summary"))
            assert name in summaries[name]
            assert summaries["Jonas"] == ""
            assert Invocation.objects.get().rendered_system_prompt == f"You work at {schema.title()}."


def test_a_task_here_and_now_is_in_the_schema_and_as_strict():
    with schema_context("north"):
        assert Where.apply(["x"]).get() == ["north", "x"]
        assert connection.schema_name == "north"
    with pytest.raises(TenantNotActive):
        Where.apply().get()
    assert Everywhere.apply(["x"]).get() == 2
    with schema_context("south"):
        assert Where().run("x") == ["south", "x"]


def test_arguments_that_run_does_not_take_are_refused_before_anything_is_queued():
    with schema_context("north"), pytest.raises(TypeError, match="Where"):
        Where.delay("x", "y")


def test_a_class_that_is_no_task_is_refused_where_it_is_written():
    with pytest.raises(TypeError, match="Nameless has no name"):

        class Nameless(BaseTask):
            def run(self):
                pass

    with pytest.raises(TypeError, match=r"Idle has no method run\(self"):

        class Idle(BaseTask):
            name = "tests.idle"

    with pytest.raises(TypeError, match="which Celery does not support"):

        class Awaited(BaseTask):
            name = "tests.awaited"

            async def run(self):
                pass

    with pytest.raises(TypeError, match=r"Other and tests\.worker_tasks\.Where both have the name 'tests\.where'"):

        class Other(BaseTask):
            name = "tests.where"

            def run(self):
                pass


def test_a_base_of_tasks_needs_neither_name_nor_run_and_is_not_queued():
    class Polite(BaseTask):
        abstract = True

        def greet(self):
            return f"hello {connection.schema_name}"

    class Greet(Polite):
        name = "tests.greet"

        def run(self):
            return self.greet()

    for base in (BaseTask, Polite):
        with pytest.raises(TypeError, match=f"{base.__name__} is abstract"):
            base.delay()
    with schema_context("north"):
        assert Greet.apply().get() == "hello north"


@pytest.mark.parametrize("queueing", [Celery, CeleryApp], indirect=True)
def test_what_is_queued_on_commit_runs_in_the_tenant_that_asked_for_it(queueing):
    """And not in the one that is active when the transaction is committed."""
    with schema_context("south"), transaction.atomic(), schema_context("north"):
        Where.apply_async_on_commit(["x"], task_id="on-commit-1", queue="threads")
        queueing.conf.task_default_queue = "prefork"
        Where.delay_on_commit("y")
    assert got(AsyncResult("on-commit-1")) == ["north", "x"]
