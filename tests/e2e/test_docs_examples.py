"""The examples in docs/how-to/test.md run as they are pasted, in a project of a user's: a database of its own."""

import os
import re
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
PAGE = REPOSITORY / "docs" / "how-to" / "test.md"
NAMED = {"test_a_slow_vendor_is_reported": "pytest", "HelperTests": "django"}


def examples():
    blocks = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    return {name: block for block in blocks for name in NAMED if name in block}


def test_the_page_has_an_example_for_each_runner():
    assert set(examples()) == set(NAMED)


@pytest.mark.parametrize("name", NAMED)
def test_an_example_passes_as_pasted(name, tmp_path):
    (tmp_path / "test_agents.py").write_text(examples()[name])
    (tmp_path / "__init__.py").touch()
    parts = urlsplit(os.environ["DATABASE_URL"])
    environment = {
        **os.environ,
        "DATABASE_URL": urlunsplit(parts._replace(path=f"/docs_{os.getpid()}")),  # of this example alone
        "PYTHONPATH": os.pathsep.join(map(str, (REPOSITORY, REPOSITORY / "example_project"))),
        "DJANGO_SETTINGS_MODULE": "clinic.settings",
    }
    environment.pop("PYTEST_ADDOPTS", None)
    pytest_options = ["-m", "pytest", "-c", os.devnull, "--rootdir", str(tmp_path), "-p", "no:cacheprovider", "-q"]
    django_options = ["-m", "django", "test", "--noinput"]
    options = pytest_options if NAMED[name] == "pytest" else django_options
    command = [sys.executable, *options, str(tmp_path)]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300)
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    assert "1 passed" in said or "Ran 1 test" in said, said
