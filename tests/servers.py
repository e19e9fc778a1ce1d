"""The example project on real web servers, on the test's database and model server."""

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
from django.db import connection

from tests import schemas
from tests.workers import wait_for

WSGI, ASGI = (
    ("tests.plain_web:wsgi", "tests.plain_web:asgi")
    if schemas.IS_PLAIN
    else ("clinic.wsgi", "clinic.asgi:application")
)
COMMANDS = {
    "gunicorn": ["gunicorn", WSGI, "--worker-class", "gthread", "--threads", "8", "--bind"],
    "uvicorn": ["uvicorn", ASGI, "--lifespan", "off", "--port"],
}


@contextmanager
def web_servers(zango_ai: dict[str, Any], script: Path | None = None) -> Iterator[dict[str, int]]:
    """The ports of running servers, by their kind. They are gone when the block is left."""
    with ExitStack() as running:
        started = {kind: running.enter_context(_server(kind, zango_ai, script)) for kind in COMMANDS}
        yield {kind: wait_until_ready() for kind, wait_until_ready in started.items()}


@contextmanager
def _server(kind: str, zango_ai: dict[str, Any], script: Path | None) -> Iterator[Callable[[], int]]:
    """A server on its way to being ready. The function waits until then, and returns its port."""
    port = _free_port()
    address = f"127.0.0.1:{port}" if kind == "gunicorn" else str(port)
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(sys.path),
        "DJANGO_SETTINGS_MODULE": "tests.server_settings",
        "TEST_SETTINGS": schemas.SETTINGS,
        "TEST_DATABASE_NAME": str(connection.settings_dict["NAME"]),
        "TEST_ZANGO_AI": json.dumps(zango_ai),
        "TEST_SCRIPT": str(script or ""),
        "QUEUE_DIR": tempfile.gettempdir(),
    }
    command = [sys.executable, "-m", *COMMANDS[kind], address]
    with tempfile.NamedTemporaryFile("wb", prefix=f"zango-ai-{kind}-") as log:
        process = subprocess.Popen(
            command, env=environment, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
        )

        def wait_until_ready() -> int:
            wait_for(lambda: _answers(port), process, Path(log.name))
            return port

        try:
            yield wait_until_ready
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _free_port() -> int:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        return int(held.getsockname()[1])


def _answers(port: int) -> bool:
    try:
        httpx.get(f"http://127.0.0.1:{port}/", timeout=60)
        return True
    except httpx.TransportError:
        return False
