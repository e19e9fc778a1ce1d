from collections.abc import Iterator
from typing import Any

import pytest
from celery import Celery

from tests.schemas import schema_context
from tests.task_queues import (
    CeleryRedis,
    DjangoTasks,
    create_tasks_table,
    delete_tasks,
    tasks_settings,
)
from tests.workers import Worker, app, tasks_worker
from zango_ai.testing import ModelServer


@pytest.fixture
def queueing(workers: Any, redis_url: str, model: Any) -> Iterator[Celery]:
    """The app that queues: to the workers' queue that its ``task_default_queue`` names."""
    with app(redis_url) as made:
        made.conf.task_default_queue = "threads"
        yield made


@pytest.fixture(scope="session")
def tasks_table(django_db_setup: None, django_db_blocker: Any) -> None:
    """The table of a database backend of Django Tasks, in the public schema."""
    with django_db_blocker.unblock():
        create_tasks_table()


@pytest.fixture(scope="session")
def database_worker(tasks_table: None, _running_model: ModelServer) -> Iterator[Worker]:
    """``manage.py db_worker``, ready."""
    conf = {"ALLOWED_API_BASES": [_running_model.url], "QUEUE": "tasks:database"}
    with tasks_worker("database", tasks=tasks_settings(), zango_ai=conf) as running:
        running.wait_until_ready()
        yield running


@pytest.fixture
def tasks(tasks_table: None, live_tenants: None, settings: Any, model: Any) -> Iterator[DjangoTasks]:
    """The backends of Django Tasks; background runs use that of the database."""
    settings.TASKS = tasks_settings()
    used = DjangoTasks("database", settings)
    used.use("database")
    yield used
    delete_tasks()


@pytest.fixture(params=["celery", "database", "immediate"])
def queue(request: pytest.FixtureRequest) -> CeleryRedis | DjangoTasks:
    """Each queue with its worker, as the application has configured it."""
    if request.param == "celery":
        request.getfixturevalue("queueing")
        return CeleryRedis(request.getfixturevalue("redis_url"))
    used = request.getfixturevalue("tasks")
    assert isinstance(used, DjangoTasks)
    if request.param == "database":
        request.getfixturevalue("database_worker")
    used.name = request.param
    used.use(request.param)
    return used


@pytest.fixture
def queue_north(queue: Any, live_tenants: None) -> Iterator[None]:
    """North is active, on each queue."""
    with schema_context("north"):
        yield
