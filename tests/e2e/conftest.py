"""The example project, as a user has it: on the installed wheel, in processes of its own."""

import os
import socket
import subprocess
import sys
import uuid
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built wheel."""
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    subprocess.run(build, check=True, capture_output=True)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="session")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what the wheel installs, and nothing else of the project."""
    folder = tmp_path_factory.mktemp("site")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return folder


@pytest.fixture
def environment(installed: Path, tmp_path: Path) -> Iterator[dict[str, str]]:
    """For a process of the example project, with a database of its own."""
    with new_environment(installed, tmp_path) as made:
        yield made


@contextmanager
def new_environment(installed: Path, folder: Path) -> Iterator[dict[str, str]]:
    name = f"example_{uuid.uuid4().hex[:12]}"
    url = os.environ["DATABASE_URL"]
    with psycopg.connect(url, autocommit=True) as server:
        server.execute(f'CREATE DATABASE "{name}"')
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("DJANGO_", "PYTEST_"))}
    path, _, query = url.partition("?")
    database = f"{path.rpartition('/')[0]}/{name}" + (f"?{query}" if query else "")
    yield {
        **kept,
        "PYTHONPATH": str(installed),
        "DATABASE_URL": database,
        "PYTHONUNBUFFERED": "1",
        "MEDIA_ROOT": str(folder / "media"),
        "QUEUE_DIR": str(folder / "queue"),
    }
    with psycopg.connect(url, autocommit=True) as server:
        server.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


def port_that_is_free() -> int:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        return int(held.getsockname()[1])


@pytest.fixture
def free_port() -> int:
    return port_that_is_free()
