"""A pytest plugin that gives the tests a PostgreSQL: the one in DATABASE_URL, or one of their own from a wheel.

It is loaded before Django's settings are, and only in the process that starts pytest-xdist's workers.
"""

import importlib.util
import os
import tempfile
from pathlib import Path
from typing import Any

import pytest

EXAMPLE = Path(__file__).resolve().parents[1] / "example_project"


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests() -> None:
    # Files that agents were sent; a test that looks at them has a folder of its own.
    os.environ.setdefault("MEDIA_ROOT", tempfile.mkdtemp(prefix="zango-ai-media-"))
    if os.environ.get("DATABASE_URL"):
        return
    database = _example_database()
    folder = Path(tempfile.mkdtemp(prefix="zango-ai-tests-"))
    folder.chmod(0o755)
    os.environ["DATABASE_URL"] = database.start(folder, keep=False)
    _forget_durability(os.environ["DATABASE_URL"])


def _example_database() -> Any:
    """The example's module that starts PostgreSQL. It is imported alone: its package needs django-tenants."""
    spec = importlib.util.spec_from_file_location("example_database", EXAMPLE / "clinic" / "database.py")
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    assert spec.loader is not None
    spec.loader.exec_module(module)
    return module


def _forget_durability(url: str) -> None:
    """What the tests write need not outlive a power cut."""
    import psycopg

    with psycopg.connect(url, autocommit=True) as connection:
        for setting in ("fsync = off", "synchronous_commit = off", "full_page_writes = off"):
            connection.execute(f"ALTER SYSTEM SET {setting}")
        connection.execute("SELECT pg_reload_conf()")
