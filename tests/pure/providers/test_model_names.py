"""Docs and example name models that will still be there when somebody tries them."""

import re
from datetime import date, timedelta
from pathlib import Path

from zango_ai.providers import litellm_import

ROOT = Path(__file__).parents[3]
CHECKED_ON = date(2026, 11, 29)
"""When the names were last chosen. Not today's date: the suite must not begin to fail by itself. Move it with each
release, and replace the names that the test then reports."""
NOTICE = timedelta(days=180)
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/-]*[A-Za-z0-9]")


def named_models():
    """Every word of docs, README, example and kinds that litellm's list has as a chat model."""
    listed = litellm_import.load().model_cost
    pages = [ROOT / "README.md", *(ROOT / "zango_ai/providers/kinds").glob("*.py"), *(ROOT / "docs").rglob("*.md")]
    for page in [*pages, *(ROOT / "example_project").rglob("*.py")]:
        for name in set(_NAME.findall(page.read_text())):
            entry = listed.get(name, {})
            if entry.get("mode") == "chat" and re.search(r"\d", name):
                yield page.relative_to(ROOT), name, entry


def test_no_model_that_docs_or_example_name_is_about_to_retire():
    retiring = [
        (str(page), name, entry["deprecation_date"])
        for page, name, entry in named_models()
        if date.fromisoformat(entry.get("deprecation_date", "9999-12-31")) < CHECKED_ON + NOTICE
    ]
    assert retiring == []


def test_every_model_that_docs_or_example_name_has_a_price():
    found = {name: entry for _, name, entry in named_models()}
    assert {"gpt-5.4-mini", "claude-haiku-4-5"} <= found.keys()
    assert all(entry["input_cost_per_token"] and entry["output_cost_per_token"] for entry in found.values())
