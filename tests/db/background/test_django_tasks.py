"""Background runs on Django Tasks: what is particular to its backends. Other tests compare them with Celery."""

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from django.db import OperationalError, connection, transaction
from django.test import Client
from tenants.models import Clinic, Domain

from tests.build import make_agent
from tests.db.http.test_http_chat import ask, parts
from tests.schemas import schema_context
from tests.task_queues import stored_tasks, tasks_settings
from tests.together import wait_until
from zango_ai import checks, conf, django_tasks, get_agent, get_run
from zango_ai.exceptions import QueueUnavailable, RunFailed
from zango_ai.models import Invocation
from zango_ai.runs import queue, tasks_queue
from zango_ai.testing import Reply

DOWN = Reply("down", status=503, headers={"retry-after": "0"})
BUSY = Reply("The vendor's words.", status=429, headers={"retry-after": "100"})
tasks_api = tasks_queue.require_tasks()


@pytest.fixture
def north(tasks):
    """North is active; background runs go to the database, and no worker takes them."""
    tasks.use("lost")
    with schema_context("north"):
        yield


def row():
    return Invocation.objects.get()


def result():
    """The only task in the database."""
    return stored_tasks().get()


@tasks_api.task
def ask_helper() -> None:
    """A task of an application."""
    get_agent("helper").run("hi")


@pytest.mark.parametrize("fails", [False, True])
def test_a_run_inside_a_task_of_the_application_is_triggered_by_it(model, north, fails):
    make_agent(model)
    model.script(Reply("no", status=400) if fails else "fine")
    asked = ask_helper.using(backend="immediate").enqueue()
    assert (row().triggered_by, row().celery_task_id) == ("task", asked.id)
    after = get_agent("helper").run("hi")
    assert Invocation.objects.get(pk=after.invocation_id).triggered_by == "user"


def test_the_immediate_backend_executes_the_run_when_the_transaction_commits(model, tasks, north):
    tasks.use("immediate")
    make_agent(model)
    before = connection.tenant
    with transaction.atomic():
        run = get_agent("helper").enqueue("hi")
        assert (run.status, model.requests) == ("queued", [])
    assert run.status == "success"
    assert get_agent("helper").enqueue("hi").status == "success"
    assert connection.tenant is before


def test_the_immediate_backend_works_inside_a_test(
    model, tasks_table, settings, north_in_test, django_capture_on_commit_callbacks
):
    settings.TASKS = tasks_settings()
    settings.ZANGO_AI = settings.ZANGO_AI | {"QUEUE": "tasks:immediate"}
    make_agent(model)
    with django_capture_on_commit_callbacks(execute=True):
        run = get_agent("helper").enqueue("hi", stream=True)
        assert run.status == "queued"
    assert run.status == "success"
    assert connection.schema_name == "north"


@pytest.fixture
def north_in_test(db):
    with schema_context("north"):
        yield


def test_the_task_of_a_tenant_is_a_row_of_the_public_schema(model, north):
    make_agent(model)
    run = get_agent("helper").enqueue("hi")
    task = result()
    assert (str(task.id), task.queue_name, task.task_path) == (
        row().celery_task_id,
        "default",
        "zango_ai.django_tasks.run_agent",
    )
    assert task.args_kwargs == {"args": [str(run.run_id), "north"], "kwargs": {}}
    assert connection.schema_name == "north"


def test_a_backend_without_a_default_queue_gets_runs_on_its_first_one(model, tasks, north):
    tasks.use("database")
    make_agent(model)
    get_agent("helper").enqueue("hi").cancel()
    assert result().queue_name == "agents"


def test_the_text_of_an_error_stays_in_the_schema_of_its_tenant(model, tasks, north, database_worker):
    tasks.use("database")
    make_agent(model)
    model.script(Reply("The vendor's words.", status=400))
    run = get_agent("helper").enqueue("hi")
    assert run.wait(60) == "failed"
    wait_until(lambda: result().status == "FAILED")
    assert "The vendor's words." in row().error_message
    task = result()
    assert task.exception_class_path.endswith(".RunFailed")
    assert f"LLMAPIError: The message is on invocation {row().pk} of schema 'north'." in task.traceback
    assert "The vendor's words." not in task.traceback


@pytest.fixture
def ada(north):
    """A user who is logged in at north, where what is written is committed."""
    with schema_context("public"):
        clinic = Clinic.objects.get(schema_name="north")
        Domain.objects.get_or_create(domain="north.localhost", defaults={"tenant": clinic})
    client = Client(headers={"host": "north.localhost"})
    client.force_login(User.objects.create(username="ada"))
    return client


@pytest.mark.urls("tests.http_urls")
def test_a_resumable_chat_is_answered_by_a_database_worker(model, tasks, ada, database_worker, settings):
    tasks.use("database")
    settings.ZANGO_AI = settings.ZANGO_AI | {"RESUMABLE_CHATS": True}
    make_agent(model, is_public_api=True, short_term_memory=True)
    model.script(Reply("one two three four", trickle_s=0.03))
    start, *chunks, finish = parts(ask(ada, "Count."))
    assert (start["messageId"], finish["type"]) == (str(row().run_id), "finish")
    assert "".join(chunk.get("delta", "") for chunk in chunks) == "one two three four"
    assert (row().triggered_by, row().celery_task_id) == ("user", str(result().id))


def test_a_retry_is_a_task_that_no_worker_takes_before_its_time(model, tasks, north, database_worker):
    tasks.use("database")
    make_agent(model)
    model.script(BUSY)
    run = get_agent("helper").enqueue("hi")
    wait_until(lambda: stored_tasks().count() == 2)
    wait_until(lambda: stored_tasks().first().status == "SUCCESSFUL")
    second = stored_tasks().last()
    assert 90 < (second.run_after - second.enqueued_at).total_seconds() <= 100
    wait_until(lambda: row().celery_task_id == str(second.id))
    assert (run.status, row().error_type) == ("queued", "RateLimitExceeded")


def test_a_run_fails_if_its_retry_cannot_be_queued(model, tasks, north):
    make_agent(model)
    model.script(BUSY)
    tasks.use("refuses_retries")
    run = get_agent("helper").enqueue("hi")
    assert run.status == "failed"
    with pytest.raises(RunFailed, match=r"QueueUnavailable: The run should be retried, but .* did not accept"):
        run.response()


def test_a_worker_that_cannot_queue_for_later_waits_for_a_short_time(model, tasks, north):
    make_agent(model)
    model.script(Reply("busy", status=429, headers={"retry-after": "0.4"}), "fine")
    tasks.use("threads")
    run = get_agent("helper").enqueue("hi")
    assert run.wait(30) == "success"
    first, second = row().rounds.order_by("number")
    assert (second.created_at - first.created_at).total_seconds() > 0.4


def test_a_worker_that_cannot_queue_for_later_does_not_wait_for_long(model, tasks, north):
    make_agent(model)
    model.script(BUSY)
    tasks.use("threads")
    run = get_agent("helper").enqueue("hi")
    assert run.wait(30) == "rate_limited"
    assert row().error_type == "RateLimitExceeded"
    assert len(model.requests) == 1


def test_a_database_that_is_away_puts_a_run_off(model, tasks, north, monkeypatch):
    def fail(*args, **kwargs):
        raise OperationalError("The database is away.")

    make_agent(model)
    run = get_agent("helper").enqueue("hi")
    task = result()
    with monkeypatch.context() as patch:
        patch.setattr(django_tasks, "execute_queued", fail)
        context = tasks_api.TaskContext(task_result=task.task_result)
        django_tasks.run_agent.call(context, str(run.run_id), "north")
    again = stored_tasks().exclude(pk=task.pk).get()
    assert again.args_kwargs["kwargs"] == {"database_failures": 1}
    assert 4 < (again.run_after - again.enqueued_at).total_seconds() <= 5
    assert run.status == "queued"


def test_a_task_whose_tenant_was_deleted_does_not_run(model, tasks, north):
    with schema_context("public"), tasks_queue._inside_enqueue():
        gone = django_tasks.run_agent.using(backend="immediate", queue_name="default").enqueue("1", "gone")
    assert gone.errors[0].exception_class_path == "zango_ai.exceptions.TenantNotActive"
    assert "whose tenant no longer exists" in gone.errors[0].traceback


def test_maintenance_is_a_task(model, north, tasks):
    make_agent(model)
    with transaction.atomic():
        run = get_agent("helper").enqueue("hi")
        transaction.set_rollback(True)
    Invocation.objects.update(updated_at="2026-01-01T00:00Z")
    with schema_context("public"):
        django_tasks.maintain.using(backend="immediate").enqueue()
    assert run.status == "cancelled"


# -- What is missing, and what to do ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("alias", "advice"),
    [
        ("database", r"python manage\.py db_worker --backend database --queue-name agents\."),
        ("dummy", "is a DummyBackend, which executes no tasks"),
        ("no_worker", r"Start a worker of the Tasks backend 'no_worker' \(tests\.task_queues\.NoWorker\)"),
    ],
)
def test_a_run_that_no_worker_takes_says_how_to_start_one(model, tasks, north, monkeypatch, alias, advice):
    tasks.use(alias)
    make_agent(model)
    monkeypatch.setattr(queue, "send", lambda run_id, schema: str(run_id))  # a worker of other tests would take it
    run = get_agent("helper").enqueue("hi")
    with pytest.raises(TimeoutError, match=f"is queued after 0.01 s.*{advice}"):
        run.wait(timeout=0.01)


@pytest.mark.parametrize(
    ("alias", "error"),
    [
        ("other", r"TASKS has no such alias\. It has: 'database'"),
        ("broken", "Could not find backend 'nowhere.Backend'"),
        ("away", r"The Tasks backend 'away' did not accept run .*OSError.*Check TASKS\['away'\]"),
    ],
)
def test_a_backend_that_is_missing_or_away_is_told_and_the_run_has_failed(
    model, tasks, north, settings, alias, error
):
    settings.TASKS = tasks_settings() | {"broken": {"BACKEND": "nowhere.Backend"}}
    tasks.use(alias)
    make_agent(model)
    with pytest.raises(QueueUnavailable, match=error) as caught:
        get_agent("helper").enqueue("hi")
    assert get_run(caught.value.run_id).status == "failed"
    with transaction.atomic():
        run = get_agent("helper").enqueue("hi")
    assert run.status == "failed"


@pytest.mark.parametrize("setting", [{"default": {}}, {"default": None}, "default"])
def test_a_setting_without_a_backend_is_found_by_the_checks(tasks, settings, setting):
    settings.TASKS = setting
    tasks.use("default")
    (found,) = checks.check_tasks_backend()
    assert (found.id, found.msg) == ("zango_ai.E005", "TASKS['default'] names no BACKEND.")
    assert checks.check_tasks_are_executed_later() == []


def test_a_missing_alias_is_found_by_a_check(tasks):
    assert checks.check_tasks_backend() == []
    tasks.use("other")
    (found,) = checks.check_tasks_backend()
    assert (found.id, "It has: 'database'" in found.msg) == ("zango_ai.E005", True)


@pytest.mark.parametrize("value", ["rq", "tasks:", "tasks", None, 1])
def test_a_queue_that_does_not_exist_is_found_by_a_check(settings, value):
    settings.ZANGO_AI = {"QUEUE": value}
    (found,) = checks.check_settings()
    assert (found.id, "must be 'celery', or 'tasks:'" in found.msg) == ("zango_ai.E001", True)
    assert checks.check_tasks_backend() == []
    assert conf.Conf().queue == "celery"


def test_a_table_of_tasks_outside_of_the_public_schema_is_found_by_a_check(tasks, settings):
    settings.INSTALLED_APPS = [*settings.INSTALLED_APPS, "django_tasks_db"]
    (found,) = checks.check_tasks_backend()
    assert found.id == "zango_ai.W006"
    assert "django_tasks_db is not in SHARED_APPS" in found.msg
    settings.SHARED_APPS = [*settings.SHARED_APPS, "django_tasks_db.apps.TasksAppConfig"]
    assert checks.check_tasks_backend() == []


@pytest.mark.parametrize(
    ("alias", "expected", "text"),
    [
        ("immediate", ["zango_ai.W007"], "executes background runs inside enqueue()"),
        ("dummy", ["zango_ai.W008"], "never executes"),
        ("database", [], ""),
    ],
)
def test_a_backend_without_workers_is_found_by_the_deployment_check(tasks, alias, expected, text):
    tasks.use(alias)
    found = checks.check_tasks_are_executed_later()
    assert [message.id for message in found] == expected
    assert all(text in message.msg for message in found)


def test_the_checks_run_as_a_command(tasks):
    call_command("check", "--deploy", "--tag", "zango_ai", "--fail-level", "ERROR")
