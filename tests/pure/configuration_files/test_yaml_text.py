"""The YAML of configuration files."""

import json
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zango_ai.configuration_files import yaml_text

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")) | st.sampled_from(
    [
        "yes",
        "08",
        "1e3",
        "~",
        "<<",
        "=",
        "2026-01-01",
        "1:30",
        " \n",
        "a\n b\n",
        "\n\nx ",
        "0x1F",
        "- a: b # c",
        "1_000",
    ]
)
VALUES = st.recursive(
    TEXT | st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=150, deadline=None)
@given(VALUES)
def test_any_value_comes_back_as_it_was(value):
    assert json.dumps(yaml_text.load(yaml_text.dump(value))) == json.dumps(value)


def test_a_prompt_is_written_as_a_block():
    assert yaml_text.dump({"content": "Hello,\n\n  you.\n"}) == "content: |\n  Hello,\n\n    you.\n"


@pytest.mark.parametrize(("amount", "text"), [("25.5000", "25.5"), ("100.0000", "100"), ("0.00", "0")])
def test_amounts_are_plain_numbers(amount, text):
    assert yaml_text.dump(Decimal(amount)).splitlines()[0] == text
