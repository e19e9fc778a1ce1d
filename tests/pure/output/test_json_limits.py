"""JSON that no reader takes: what counts as too deep or too long, and that finding it takes linear time."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zango_ai.output import json_limits, json_reader
from zango_ai.providers.unreadable_arguments import UnreadableArguments

DEEPEST = "[" * json_limits.MAX_DEPTH + "]" * json_limits.MAX_DEPTH
LONGEST = "7" * json_limits.MAX_DIGITS


@pytest.mark.parametrize("text", [DEEPEST, LONGEST, f"[{LONGEST},{DEEPEST[1:-1]}]", '"' + "[" * 500 + '"', "]]]["])
def test_json_within_the_limits_is_read(text):
    assert json_limits.is_within(text)


@pytest.mark.parametrize("text", [f"[{DEEPEST}]", LONGEST + "7", "[" * 101, f'{{"a": {DEEPEST}}}', "[" * 200_000])
def test_json_beyond_the_limits_is_refused(text):
    assert not json_limits.is_within(text)
    with pytest.raises(ValueError, match="100 levels deep"):
        json_reader.load(text)


def test_each_part_beyond_the_limits_is_found_by_its_place():
    deep = "[" * 200 + "1" + "]" * 200
    text = f'{{"a": {LONGEST}7, "b": "{LONGEST}7", "c": {deep}, "d": {deep}}}'
    found = [text[start:end] for start, end in json_limits.excesses(text)]
    # The object around them is the first level.
    inner = deep[99:-99]
    assert found == [LONGEST + "7", inner, inner]


HOSTILE = ['\\"' * 2_000_000, '"' * 3_000_001, "[" * 101 + '"\\' * 1_000_001, "7" * 4_000_000]


@pytest.mark.parametrize("text", HOSTILE, ids=range(4))
def test_hostile_text_is_searched_in_linear_time(text):
    list(json_limits.excesses(text))
    UnreadableArguments().replace(f'"arguments": {text}'.encode())


values = st.recursive(
    st.none() | st.integers(min_value=-(10**40), max_value=10**40) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
)


@given(values)
def test_an_answer_within_the_limits_is_left_alone(value):
    body = json.dumps({"message": {"arguments": json.dumps(value), "input": value}}).encode()
    assert UnreadableArguments().replace(body) is body


@pytest.mark.parametrize("excess", [LONGEST + "7", f"[{DEEPEST}]"])
@pytest.mark.parametrize("is_text", [True, False])
def test_what_is_taken_out_is_put_back_to_the_letter(excess, is_text):
    arguments = f'{{"before": "withheld", "x": {excess}, "after": [1]}}'
    told = json.dumps(arguments) if is_text else arguments
    withheld = UnreadableArguments()
    taken = withheld.replace(f'{{"arguments": {told}}}'.encode())
    left = json.loads(taken)["arguments"]
    assert excess.encode() not in taken
    assert withheld.restore(left if is_text else json.dumps(left)) == arguments
