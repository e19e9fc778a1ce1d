"""The stylesheet of a provider's form hides what the chosen kind does not need: it must know every kind."""

import re
from pathlib import Path

import zango_ai
from zango_ai.providers.kinds import KINDS

CSS = (Path(zango_ai.__file__).parent / "static/zango_ai/provider.css").read_text("utf-8")
IN_ALL = {"api_base"}


def test_the_styles_show_each_credential_for_the_kinds_that_have_it():
    shown = {kind: set(IN_ALL) for kind in KINDS}
    for negated, kind, rows in re.findall(
        r'form:(not\(:)?has\(\[name="kind"\]\[value="(\w+)"\]:checked\)\)? \.form-row([^\n]*?):not\(\.errors\)', CSS
    ):
        for slot in re.findall(r"\.field-(\w+)", rows):
            for each in KINDS:
                if (each == kind) is bool(negated):
                    shown[each].add(slot)
    assert shown == {name: {slot.name for slot in kind.slots} for name, kind in KINDS.items()}


def test_the_styles_show_the_help_of_each_kind():
    assert set(re.findall(r'\[data-za-kinds~="(\w+)"\]', CSS)) == set(KINDS)
