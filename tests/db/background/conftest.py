from collections.abc import Iterator
from typing import Any

import pytest
from celery import Celery

from tests.workers import app


@pytest.fixture
def queueing(workers: Any, redis_url: str, model: Any) -> Iterator[Celery]:
    """The app that queues: to the workers' queue that its ``task_default_queue`` names."""
    with app(redis_url) as made:
        made.conf.task_default_queue = "threads"
        yield made
