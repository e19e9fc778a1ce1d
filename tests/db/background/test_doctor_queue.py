"""What ``zango_ai_doctor`` says about the queue: reached or not, with a worker or without."""

from contextlib import contextmanager
from datetime import timedelta

import pytest
from django.db import connection, transaction
from django.utils import timezone

from tests.build import make_agent
from tests.schemas import schema_context
from tests.task_queues import APP, stored_tasks
from tests.workers import app, redis_server
from zango_ai import get_agent
from zango_ai.doctor import activity, background, examine_project
from zango_ai.doctor.findings import Level, Scope
from zango_ai.models import Invocation
from zango_ai.runs import celery_queue


def found():
    return [(each.id, each.where) for each in background.find_in_queue(Scope("public", is_offline=False))]


def test_workers_that_know_the_task_are_all_that_is_needed(queueing, monkeypatch):
    assert found() == []
    monkeypatch.setattr(celery_queue, "TASK_NAME", "zango_ai.other")
    ((name, where),) = found()
    assert (name, "workers plain@" in where) == ("doctor.queue.unknown_task", True)


def test_a_queue_without_workers_is_told_how_to_start_one():
    with redis_server() as url, app(url):
        (finding,) = background.find_in_queue(Scope("public", is_offline=False))
    assert (finding.id, finding.remedy) == ("doctor.queue.no_worker", "Start one with: celery -A clinic worker")


def test_a_broker_that_is_gone_is_found_in_seconds():
    with app("redis://127.0.0.1:9/0"):
        assert found() == [("doctor.queue.unreachable", "the broker")]


def test_a_project_that_executes_tasks_at_once_needs_no_worker():
    with app("redis://127.0.0.1:9/0") as made:
        made.conf.task_always_eager = True
        assert found() == []


def test_celery_is_only_missed_if_the_settings_ask_for_it(settings, monkeypatch):
    monkeypatch.setattr(celery_queue, "is_installed", lambda: False)
    assert found() == []
    settings.ZANGO_AI = {**settings.ZANGO_AI, "QUEUE": "celery"}
    (finding,) = background.find_in_queue(Scope("public", is_offline=False))
    assert (finding.id, finding.where) == ("doctor.queue.not_configured", "Celery")
    assert finding.problem.startswith("Celery is not installed. Run: pip install 'zango-ai[celery]'")


# -- Django Tasks -------------------------------------------------------------------------------------------------


@pytest.fixture
def installed(tasks, settings):
    """The database backend as the documentation sets it up. No worker takes the tasks of the backend ``lost``."""
    for name in ("INSTALLED_APPS", "SHARED_APPS"):
        setattr(settings, name, [*getattr(settings, name), APP])
    tasks.use("lost")
    return tasks


def only():
    """The only finding, which is an error."""
    (finding,) = background.find_in_queue(Scope("public", is_offline=True))
    assert (finding.level, finding.where) == (Level.ERROR, "Tasks backend lost")
    return finding


def in_project():
    """The errors and warnings of the whole project that are about the queue."""
    ids = [finding.id for finding in examine_project(is_offline=True).findings]
    return [each for each in ids if "queue" in each or each in {"zango_ai.E005", "zango_ai.W007", "zango_ai.W008"}]


def test_a_database_backend_that_is_set_up_is_all_that_is_needed(installed):
    assert found() == []
    assert in_project() == []


def test_an_alias_that_the_setting_tasks_does_not_have_is_found(installed):
    installed.use("other")
    assert found() == [("doctor.queue.not_configured", "Django Tasks")]
    assert in_project() == ["zango_ai.E005"]


def test_a_backend_whose_app_is_not_installed_is_found(tasks):
    tasks.use("lost")
    finding = only()
    assert finding.id == "doctor.queue.no_app"
    assert (
        finding.remedy == "Add 'django_tasks_db' to SHARED_APPS, and run: python manage.py migrate_schemas --shared"
    )


@contextmanager
def changed(statement):
    """The database after a statement, which is rolled back."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(statement)
        yield
        transaction.set_rollback(True)


def test_a_table_of_tasks_that_is_missing_is_found_whichever_tenant_is_active(installed):
    with changed("ALTER TABLE public.django_tasks_database_dbtaskresult SET SCHEMA north"), schema_context("north"):
        finding = only()
        assert connection.schema_name == "north"
    assert finding.id == "doctor.queue.no_table"
    assert "The table django_tasks_database_dbtaskresult does not exist in the schema public" in finding.problem
    assert finding.remedy == "Run: python manage.py migrate_schemas --shared"


def test_a_table_of_tasks_of_an_older_release_is_found(installed):
    forget = "DELETE FROM public.django_migrations WHERE app = 'django_tasks_database' AND name LIKE '0017%'"
    with changed(forget):
        finding = only()
    assert (finding.id, "not applied: 0017_" in finding.problem) == ("doctor.queue.unapplied", True)


def test_the_dummy_backend_is_an_error_and_the_immediate_one_a_warning(installed):
    installed.use("dummy")
    (finding,) = background.find_in_queue(Scope("public", is_offline=True))
    assert (finding.id, finding.level) == ("doctor.queue.never_executes", Level.ERROR)
    assert "Set TASKS['dummy'] to a backend with workers" in finding.remedy
    assert in_project() == ["doctor.queue.never_executes"]
    installed.use("immediate")
    assert in_project() == ["zango_ai.W007"]


def enqueue(model):
    """Queue a run that no worker takes. Returns the tasks in the database."""
    with schema_context("north"):
        make_agent(model)
        get_agent("helper").enqueue("hi")
    return stored_tasks()


def ago(**time):
    return timezone.now() - timedelta(**time)


def test_a_task_that_no_worker_takes_for_minutes_is_an_error(model, installed):
    tasks = enqueue(model)
    assert found() == []
    tasks.update(enqueued_at=ago(minutes=3))
    finding = only()
    assert finding.id == "doctor.queue.no_worker"
    assert (
        finding.problem
        == "1 task waits in its queue 'default', the oldest for 3 minutes, and no worker has started one."
    )
    assert finding.remedy == "Start a worker with: python manage.py db_worker --backend lost."


def test_a_retry_waits_for_its_time_and_for_no_worker(model, installed):
    tasks = enqueue(model)
    tasks.update(enqueued_at=ago(minutes=30), run_after=ago(minutes=-5))
    assert found() == []
    tasks.update(run_after=ago(seconds=30))
    assert found() == []
    tasks.update(run_after=ago(minutes=3))
    assert only().id == "doctor.queue.no_worker"


@pytest.mark.parametrize(
    ("task", "is_at_work"),
    [
        ({"status": "RUNNING", "started_at": {"minutes": 20}, "queue_name": "other"}, True),
        ({"status": "RUNNING", "started_at": {"hours": 2}}, False),  # its worker was killed
        ({"status": "SUCCESSFUL", "started_at": {"minutes": 1}}, True),
        ({"status": "SUCCESSFUL", "started_at": {"minutes": 1}, "queue_name": "other"}, False),
        ({"status": "SUCCESSFUL", "started_at": {"minutes": 1}, "backend_name": "database"}, False),
    ],
)
def test_a_worker_that_is_busy_is_not_missed(model, installed, task, is_at_work):
    tasks = enqueue(model)
    with schema_context("north"):
        get_agent("helper").enqueue("hi")
    taken = tasks.earliest("enqueued_at")
    stored_tasks().exclude(pk=taken.pk).update(enqueued_at=ago(minutes=3))
    stored_tasks().filter(pk=taken.pk).update(**{**task, "started_at": ago(**task["started_at"])})
    assert (found() == []) is is_at_work


def test_runs_that_wait_are_told_which_worker_to_start_on_any_backend(model, installed):
    installed.use("no_worker")
    assert found() == []  # such a backend cannot be asked
    with schema_context("north"):
        Invocation.objects.create(agent_name="helper", status="queued")
        Invocation.objects.update(updated_at=ago(minutes=11))
        (finding,) = activity.find_in_runs(Scope("north", is_offline=True))
    assert finding.id == "doctor.runs.waiting"
    assert finding.remedy == "Start a worker of the Tasks backend 'no_worker' (tests.task_queues.NoWorker)."
