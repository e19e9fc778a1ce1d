"""The reference names everything that an application can use, and says what the code says."""

import ast
import inspect
import re
import textwrap
from itertools import pairwise
from pathlib import Path

from django.urls import get_resolver

from docs._reference import pages
from zango_ai import checks, exceptions

FOLDER = Path(__file__).resolve().parents[3] / "docs" / "reference"
ZANGO_AI_ERROR = exceptions.ZangoAIError


def sections(page):
    """The text under each heading of the third level."""
    parts = re.split(r"^### (\w+)$", (FOLDER / page).read_text(), flags=re.MULTILINE)
    return {name: text.split("\n## ")[0] for name, text in list(pairwise(parts))[1::2]}


def attributes_of(error):
    """The attributes that the constructors of an exception set."""
    constructors = [
        vars(base)["__init__"] for base in error.__mro__ if inspect.isfunction(vars(base).get("__init__"))
    ]
    trees = [ast.parse(textwrap.dedent(inspect.getsource(constructor))) for constructor in constructors]
    assigned = [node.attr for tree in trees for node in ast.walk(tree) if is_assigned_to_self(node)]
    return set(assigned) - {"invocation_id"}


def is_assigned_to_self(node):
    return isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store)


def test_the_generated_parts_say_what_the_code_says():
    outdated = [page.name for page in pages.outdated()]
    assert not outdated, "Run: python -m docs._reference"


def test_every_generated_part_is_on_one_page():
    text = "".join(page.read_text() for page in FOLDER.glob("*.md"))
    assert sorted(re.findall(r"<!-- generated: ([\w ]+) -->", text)) == sorted(pages.BLOCKS)


def test_every_error_has_a_section_with_its_attributes_and_what_to_do():
    described = sections("errors.md")
    errors = {
        name: e for name, e in vars(exceptions).items() if isinstance(e, type) and issubclass(e, ZANGO_AI_ERROR)
    }
    assert set(described) == set(errors)
    bases = {error.__mro__[1] for error in errors.values()} - {exceptions.LLMAPIError, exceptions.RunFailed}
    for name, error in errors.items():
        if error is ZANGO_AI_ERROR:
            continue
        listed = re.search(r"\*\*Attributes:\*\* (.*)", described[name])
        assert set(re.findall(r"`(\w+)`", listed[1] if listed else "")) == attributes_of(error), name
        assert error in bases or "**What to do:**" in described[name], name


def test_every_error_that_is_a_standard_exception_says_so():
    for name, text in sections("errors.md").items():
        for standard in (ValueError, TypeError):
            assert issubclass(getattr(exceptions, name), standard) == (f"Also a `{standard.__name__}`" in text), (
                name
            )


def test_every_system_check_is_described():
    described = re.findall(r"^\| `(zango_ai\.[EW]\d+)` \|", (FOLDER / "checks.md").read_text(), re.MULTILINE)
    assert sorted(described) == sorted(set(re.findall(r"zango_ai\.[EW]\d+", inspect.getsource(checks))))


def test_every_url_of_the_api_is_described_with_its_name():
    named = [url for url in get_resolver("zango_ai.urls").url_patterns if url.name and url.name != "openapi"]
    paths = {f"zango_ai:{url.name}": re.sub(r"<\w+:(\w+)>", r"{\1}", str(url.pattern)) for url in named}
    text = (FOLDER / "http.md").read_text()
    described = re.findall(r"^(?:GET|POST) (\S+)\n```\n\nName of the URL: `([\w:]+)`", text, re.MULTILINE)
    assert {name: path for path, name in described} == paths
