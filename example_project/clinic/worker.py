"""Run a Celery worker for the demo."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

NO_WARNING = "ignore:You're running the worker with superuser privileges"
"""The demo may run as root, for example in a container."""


@contextmanager
def running(*, allowed_api_bases: list[str]) -> Iterator[None]:
    """Run a worker while the block lasts. Tasks that are queued before it is ready wait in the queue."""
    # Exit normally on SIGTERM, so that the worker stops too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    command = [sys.executable, "-m", "celery", "-A", "clinic", "worker", "--pool", "threads", "--concurrency", "2"]
    process = subprocess.Popen(
        [*command, "--loglevel", "ERROR", "--without-mingle", "--without-gossip"],
        cwd=Path(__file__).resolve().parents[1],
        env={
            **os.environ,
            "ALLOWED_API_BASES": " ".join(allowed_api_bases),
            "C_FORCE_ROOT": "1",
            "PYTHONWARNINGS": NO_WARNING,
        },
        stdout=subprocess.DEVNULL,
        # Ctrl-C reaches only the demo, which then stops the worker.
        start_new_session=True,
    )
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
