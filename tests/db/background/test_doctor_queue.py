"""What ``zango_ai_doctor`` says about the queue: reached or not, with a worker or without."""

from tests.workers import app, redis_server
from zango_ai.doctor import background
from zango_ai.doctor.findings import Scope
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


def test_a_missing_backend_of_django_tasks_is_found(tasks):
    assert found() == []
    tasks.use("other")
    assert found() == [("doctor.queue.not_configured", "Django Tasks")]
