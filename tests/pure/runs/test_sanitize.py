import json
from datetime import date
from decimal import Decimal
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zango_ai import sanitize


class Broken:
    def __str__(self):
        raise RuntimeError("no")


LOOP: list = []
LOOP.append(LOOP)


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        (date(2026, 1, 2), "2026-01-02"),
        (Decimal("1.10"), "1.10"),
        (UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        ("a\x00b\ud800c", "a\ufffdb\ufffdc"),
        (b"abc", "[3 bytes]"),
        (float("nan"), "nan"),
        ({1: {2: "x"}}, {"1": {"2": "x"}}),
        ((1, True, None), [1, True, None]),
        (Broken(), "[Broken that cannot be shown as text]"),
        pytest.param(10**5000, "[int that cannot be shown as text]", id="huge"),
    ],
)
def test_values_are_kept_as_near_as_possible(value, kept):
    assert json.loads(sanitize.document(value)) == kept


def test_a_value_that_holds_itself_ends_somewhere():
    assert "contains itself" in sanitize.document(LOOP)


@pytest.mark.parametrize("width", [2, 1000])
def test_a_value_that_holds_a_part_many_times_over_is_cut(width):
    value: list = []
    for _ in range(40):
        value = [value] * width
    assert len(sanitize.document(value)) < 20_000_000


def test_long_text_is_cut_with_a_note():
    cut = sanitize.text("x" * 500, 100)
    assert cut.startswith("xxx")
    assert cut.endswith("… [cut: 500 characters in all]")
    assert len(cut) == 100


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()) | st.binary() | st.dates(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters()) | st.integers(), inner),
)


@given(anything)
def test_any_value_becomes_json_that_utf8_and_postgresql_take(value):
    encoded = sanitize.document(value)
    json.loads(encoded)
    encoded.encode()
    assert "\\u0000" not in encoded.replace("\\\\", "")


@given(st.text(st.characters()))
def test_any_text_can_be_sent(value):
    assert sanitize.sendable(value).encode().decode() == value.translate(dict.fromkeys(range(55296, 57344), 65533))
