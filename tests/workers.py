"""Workers in processes of their own, on the test's database and model server.

``redis_server()`` gives the URL of a Redis; ``worker()`` a Celery worker that is ready; ``app()`` an app of this
process that queues on that Redis, for as long as the block lasts; ``got()`` what a task has returned.
``tasks_worker()`` is a worker of Django Tasks, whose tasks are in the database.
"""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import kombu.pools
import pytest
import redis
from celery import Celery, current_app
from celery.backends.redis import RedisBackend
from celery.result import AsyncResult
from django.conf import settings
from django.db import connection

from tests import schemas


@contextmanager
def redis_server() -> Iterator[str]:
    """A Redis that keeps nothing, on a free port of this machine."""
    if shutil.which("redis-server") is None:
        missing = "There is no redis-server: apt-get install redis-server."
        pytest.fail(missing) if os.environ.get("CI") == "true" else pytest.skip(missing)
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        port = held.getsockname()[1]
    options = {"--port": port, "--bind": "127.0.0.1", "--save": "", "--appendonly": "no"}
    command = ["redis-server", *(str(part) for option in options.items() for part in option)]
    with tempfile.TemporaryDirectory() as folder, open(os.path.join(folder, "log"), "w") as log:
        process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=subprocess.STDOUT)
        try:
            wait_for(lambda: answers(port), process, Path(log.name))
            yield f"redis://127.0.0.1:{port}/0"
        finally:
            process.kill()
            process.wait()


def answers(port: int) -> bool:
    client = redis.Redis(port=port)
    try:
        return bool(client.ping())
    except redis.ConnectionError:
        return False
    finally:
        client.close()


@dataclass
class Worker:
    """``queue`` is the one that it reads; ``process`` the main process, which leads a process group of its own."""

    queue: str
    process: subprocess.Popen[bytes]
    log: Path
    sign_of_life: str = " ready."

    def wait_until_ready(self) -> None:
        wait_for(lambda: self.sign_of_life in self.log.read_text(), self.process, self.log)

    def children(self) -> list[int]:
        """The processes of a prefork pool."""
        told = subprocess.run(
            ["ps", "-o", "pid=", "--ppid", str(self.process.pid)], capture_output=True, text=True
        ).stdout
        return [int(pid) for pid in told.split()]

    def kill(self) -> None:
        """As the machine would: ``kill -9``, the pool's processes as well."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def errors(self) -> list[str]:
        return re.findall(r"^\[.*: (?:ERROR|CRITICAL)/.*$", self.log.read_text(), re.MULTILINE)


@contextmanager
def worker(
    broker: str, queue: str, *arguments: str, app: str = schemas.CELERY_APP, zango_ai: dict[str, Any] | None = None
) -> Iterator[Worker]:
    """A worker for one queue, on its way to being ready. It is gone when the block is left.

    ``arguments`` are ``celery worker``'s: ``"--pool", "prefork", "-c", "2"``. ``zango_ai`` are the ``ZANGO_AI``
    settings, this process's by default.
    """
    command = [sys.executable, "-m", "celery", "-A", app, "worker", "-Q", queue, "-n", f"{queue}@%h"]
    command += ["-I", "tests.worker_tasks", "-l", "INFO", "--without-mingle", "--without-gossip", *arguments]
    with _running(queue, command, zango_ai, " ready.", CELERY_BROKER_URL=broker) as running:
        yield running


@contextmanager
def tasks_worker(
    alias: str, *arguments: str, tasks: dict[str, Any], zango_ai: dict[str, Any] | None = None
) -> Iterator[Worker]:
    """``manage.py db_worker`` for one backend of ``tasks``, which are the ``TASKS`` settings."""
    line = ["manage.py", "db_worker", "--backend", alias, "--queue-name", "*", "--interval", "0.05", "--no-reload"]
    code = (
        "import django; django.setup(); import tests.worker_tasks; "
        "from django.core.management import execute_from_command_line; "
        f"execute_from_command_line({[*line, '--no-startup-delay', *arguments]!r})"
    )
    command = [sys.executable, "-c", code]
    with _running(alias, command, zango_ai, "Starting worker", TEST_TASKS=json.dumps(tasks)) as running:
        yield running


@contextmanager
def _running(
    queue: str, command: list[str], zango_ai: dict[str, Any] | None, sign_of_life: str, **variables: str
) -> Iterator[Worker]:
    log = Path(tempfile.mkdtemp(prefix="zango-ai-worker-")) / "log"
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(sys.path),
        "PYTHONUNBUFFERED": "1",
        "DJANGO_SETTINGS_MODULE": "tests.worker_settings",
        "TEST_SETTINGS": schemas.SETTINGS,
        "MEDIA_ROOT": str(settings.MEDIA_ROOT),
        "TEST_DATABASE_NAME": str(connection.settings_dict["NAME"]),
        "TEST_USE_TZ": json.dumps(settings.USE_TZ),
        "TEST_ZANGO_AI": json.dumps(settings.ZANGO_AI if zango_ai is None else zango_ai),
        **variables,
    }
    with open(log, "wb") as out:
        process = subprocess.Popen(
            command, env=environment, stdout=out, stderr=subprocess.STDOUT, start_new_session=True
        )
    running = Worker(queue, process, log, sign_of_life)
    try:
        yield running
    finally:
        if process.poll() is None:
            stop(running)
        shutil.rmtree(log.parent)


def stop(*running: Worker) -> None:
    """Let them end what they are at, for some seconds; then end them."""
    for each in running:
        each.process.terminate()
    for each in running:
        try:
            each.process.wait(10)
        except subprocess.TimeoutExpired:
            each.kill()


@contextmanager
def app(broker: str, kind: type[Celery] = Celery) -> Iterator[Celery]:
    """The app that tasks are queued with while the block lasts: a plain one, or tenant-schemas-celery's.

    It has no result backend, which would keep a connection for each result object that is still about.
    """
    before = current_app._get_current_object()
    made = kind("tests", broker=broker)
    made.outcomes = RedisBackend(app=made, url=broker)
    try:
        yield made
    finally:
        made.outcomes.client.connection_pool.disconnect()
        made.producer_pool.force_close_all()
        made.pool.force_close_all()
        kombu.pools.reset()
        made.close()
        before.set_default()
        before.set_current()


def ended(result: AsyncResult) -> AsyncResult:
    """What came of a task that was queued within ``app()``, when it is over."""
    told = AsyncResult(result.id, backend=current_app.outcomes)
    deadline = time.monotonic() + 60
    while not told.ready():
        assert time.monotonic() < deadline, f"{told.id} has not ended"
        time.sleep(0.01)
    return told


def got(result: AsyncResult) -> Any:
    """What a task has returned, or raised."""
    told = ended(result)
    if told.failed():
        raise told.result
    return told.result


def wait_for(condition: Any, process: subprocess.Popen[Any], log: Path) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        if process.poll() is not None or time.monotonic() > deadline:
            raise AssertionError(f"{process.args} did not start:\n{log.read_text()}")
        time.sleep(0.05)
