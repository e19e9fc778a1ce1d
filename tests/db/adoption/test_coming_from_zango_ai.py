"""The page for users of Zango's AI module: its code and its names are those of this package."""

import re
from importlib import import_module
from pathlib import Path

import pytest
from django.db.models import Model

import zango_ai
from tests.build import make_agent
from zango_ai import exceptions, models, tasks

PAGE = (Path(__file__).resolve().parents[3] / "docs" / "explanation" / "coming-from-zango-ai.md").read_text()


def rows(heading):
    (section,) = re.findall(rf"^## {heading}\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL)
    cells = [line.strip("|").split(" | ") for line in section.splitlines() if line.startswith("| `")]
    return [[re.findall(r"`([^`]+)`", cell) for cell in row] for row in cells]


def code():
    return re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


def test_replacing_the_imports_makes_the_old_code_the_new_code():
    before, after = code()
    for (old,), (new,) in rows("Imports"):
        import_module(new.split()[1])
        before = before.replace(old, new)
    assert before == after


def test_the_new_code_answers(model, north):
    make_agent(model, "chat-agent")
    model.script("About two million.")
    names = {}
    exec(compile(code()[1], "coming-from-zango-ai.md", "exec"), names)
    assert names["answer"] == "About two million."


def test_every_name_that_both_have_can_be_imported():
    (section,) = re.findall(r"These names exist in both: (.*?), and all exceptions", PAGE, re.DOTALL)
    names = re.findall(r"`(\w+)`", section)
    assert len(names) == 13
    for name in names:
        assert hasattr(zango_ai, name) or hasattr(tasks, name), name


def test_every_exception_and_its_attribute_exists(model, north):
    with pytest.raises(exceptions.ProviderNotFound) as caught:
        zango_ai.get_provider("unknown")
    assert caught.value.name == "unknown"
    for first, *_, new in [row for row in rows("Exceptions") if row[0]]:
        error = getattr(exceptions, first[0])
        makers = [cls.__init__.__code__ for cls in error.__mro__ if hasattr(cls.__init__, "__code__")]
        assert any(new[0] in maker.co_names for maker in makers), first[0]


def test_every_new_model_and_field_exists():
    table = rows("Models")
    assert len(table) > 20
    for *_, new in table:
        for name in [name for name in new if name[0].isupper()]:
            model_name, _, field = name.partition(".")
            found = getattr(models, model_name)
            assert issubclass(found, Model)
            assert not field or found._meta.get_field(field), name
