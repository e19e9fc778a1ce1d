"""The example's tests show what an application's tests need: nothing that only this repository has."""

import ast
import sys
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).resolve().parents[3] / "example_project"
FILES = sorted(path for path in EXAMPLE.rglob("*.py") if "tests" in path.parts[len(EXAMPLE.parts) :])
APPS = {path.parent.name for path in EXAMPLE.glob("*/__init__.py")}
PACKAGES = sys.stdlib_module_names | APPS | {"pytest", "django", "django_tenants"}
PUBLIC = {"zango_ai", "zango_ai.exceptions", "zango_ai.models", "zango_ai.tasks", "zango_ai.testing"}


def modules_of(source):
    """The modules that a file imports, wherever in it."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield node.module


def others(source):
    """Those that are neither public nor the application's own."""
    return [name for name in modules_of(source) if name not in PUBLIC and name.partition(".")[0] not in PACKAGES]


def test_the_tests_of_the_example_are_found():
    assert len(FILES) > 4
    assert {"patients", "tenants", "clinic"} <= APPS


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(EXAMPLE)))
def test_the_tests_of_the_example_import_only_what_every_application_has(path):
    assert others(path.read_text()) == []


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("from tests.build import make_agent", ["tests.build"]),
        ("import zango_ai.runs.queue", ["zango_ai.runs.queue"]),
        ("from zango_ai.testing.scripted_rows import ensure_agent", ["zango_ai.testing.scripted_rows"]),
        ("def test():\n    import httpx", ["httpx"]),
        ("from zango_ai.testing import says\nfrom patients.models import Patient\nfrom . import conftest", []),
    ],
)
def test_an_import_of_anything_else_is_found(line, found):
    assert others(line) == found
