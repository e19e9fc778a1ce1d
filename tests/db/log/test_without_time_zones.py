"""A project with ``USE_TZ = False``: part of the suite, run under such settings in a process of its own."""

import os
import re
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

from zango_ai.ledger import clock

TESTS = Path(__file__).parents[1]
CHOSEN = {
    "tools/test_approvals.py": ("stops_where", "goes_on", "too_late", "nobody_has_given"),
    "background/test_background.py": ("approval", "is_never_run_and_ends"),
    "limits/test_budgets.py": ("month", "threshold"),
    "log/test_maintenance.py": ("abandoned", "orphan"),
    "memory/test_memory.py": ("goes_on_where", "idle", "cleared"),
    "limits/test_rates.py": ("raised", "limit_of_its_own"),
}
"""For each module, parts of the names of the tests to run."""


def test_the_chosen_tests_exist():
    for module, parts in CHOSEN.items():
        names = re.findall(r"^def test_\w+", (TESTS / module).read_text(), re.MULTILINE)
        assert [part for part in parts if not any(part in name for name in names)] == [], module


def test_runs_approvals_budgets_and_maintenance_work_without_time_zones():
    words = " or ".join(f"({Path(module).stem} and ({' or '.join(parts)}))" for module, parts in CHOSEN.items())
    command = [sys.executable, "-m", "pytest", "-q", "-n", "0", "-p", "no:cacheprovider"]
    done = subprocess.run(
        [
            *command,
            "-k",
            f"({words}) and not process and not celery and not database",
            *(str(TESTS / name) for name in CHOSEN),
        ],
        cwd=TESTS.parents[1],
        env={**os.environ, "DJANGO_SETTINGS_MODULE": "tests.naive_settings"},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-2000:]


def test_a_project_sees_moments_as_django_returns_them(settings):
    moment = datetime(2026, 7, 1, 10, tzinfo=UTC)
    assert clock.to_django_time(moment) == moment
    settings.USE_TZ = False
    assert clock.to_django_time(moment) == datetime(2026, 7, 1, 12)  # in Berlin
    assert clock.now() - datetime.now(UTC) < timedelta(seconds=1)
