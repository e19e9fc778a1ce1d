"""A pytest plugin that gives the tests a PostgreSQL: the one in DATABASE_URL, or one of their own from a wheel.

It is loaded before Django's settings are, and only in the process that starts pytest-xdist's workers.
"""

import os
import sys
import tempfile
from pathlib import Path

import pytest

SCHEMAS = ("north", "south")
"""The tenants of the test database."""
EXAMPLE = Path(__file__).resolve().parents[1] / "example_project"


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests() -> None:
    # Files that agents were sent; a test that looks at them has a folder of its own.
    os.environ.setdefault("MEDIA_ROOT", tempfile.mkdtemp(prefix="zango-ai-media-"))
    if os.environ.get("DATABASE_URL"):
        return
    sys.path.insert(0, str(EXAMPLE))
    from clinic import database

    folder = Path(tempfile.mkdtemp(prefix="zango-ai-tests-"))
    folder.chmod(0o755)
    os.environ["DATABASE_URL"] = database.start(folder, keep=False)
    _forget_durability(os.environ["DATABASE_URL"])


def _forget_durability(url: str) -> None:
    """What the tests write need not outlive a power cut."""
    import psycopg

    with psycopg.connect(url, autocommit=True) as connection:
        for setting in ("fsync = off", "synchronous_commit = off", "full_page_writes = off"):
            connection.execute(f"ALTER SYSTEM SET {setting}")
        connection.execute("SELECT pg_reload_conf()")
