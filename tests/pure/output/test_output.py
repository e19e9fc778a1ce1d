import pytest

from zango_ai.exceptions import OutputParseError
from zango_ai.output import json_reader


def parse(content, stop_reason="end_turn"):
    return json_reader.parse_answer(content, stop_reason=stop_reason)


def test_a_fence_may_hold_what_looks_like_its_end():
    assert parse('```json\n{"a": "```\\n```"}\n```') == {"a": "```\n```"}
    assert parse("```\n42\n```") == 42


def test_a_refusal_is_called_that():
    with pytest.raises(OutputParseError, match="refused"):
        parse("", "refusal")


@pytest.mark.parametrize("content", ['{"a": 1}', '```json\n{"a": 1}\n```', '  ```\n{"a": 1}```\n'])
def test_json_is_read_also_inside_a_fence(content):
    assert parse(content) == {"a": 1}


@pytest.mark.parametrize(
    "content",
    [
        'Here you are:\n\n{"a": 1}\n\nAnything else?',
        'Sure!\n```json\n{"a": 1}\n```\nDone.',
        'In {curly} words: {"a": 1}',
        '\ufeff{"a": 1}',
        'See [note] and {it}: {"a": 1}',
    ],
)
def test_words_around_one_value_are_passed_over(content):
    assert parse(content) == {"a": 1}


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("", "empty"),
        ("  \n", "empty"),
        ("Sure! Here it is", "not valid JSON"),
        ('{"a": NaN}', "NaN"),
        ("[" * 100_000, "nested too deeply"),
        ("9" * 5000, "an integer of 5000 digits"),
        ("1e999", "too large"),
        ('{"a": 1, "b": 2, "a": 3}', "the key 'a' occurs twice"),
        ('First {"a": 1}, or {"a": 2}?', "2 JSON values"),
        ("```json\n[1]\n```\n```json\n[2]\n```", "2 JSON values"),
        ("x" + "{[" * 5000, "not valid JSON"),
        ("so: " + "[" * 100_000, "nested too deeply"),
        ('{"items": [{"a": 1},]}', "not valid JSON"),
        ('{"total": 3, "lines": []', "not valid JSON"),
        ("{'total': {\"a\": 1}}", "not valid JSON"),
        ('Here: {"total": 3, "lines": []', "not valid JSON"),
        ('Input:\n```json\n{"a": 1}\n```\nAnswer: {"a": 2}', "2 JSON values"),
        ("```" + "a" * 200_000, "not valid JSON"),
        ("so: " + "[" * 400 + "1," * 200_000, "not valid JSON"),
    ],
)
def test_what_is_not_json_is_refused_with_the_reason(content, reason):
    with pytest.raises(OutputParseError, match=reason) as caught:
        parse(content)
    assert caught.value.content == content


def test_an_answer_cut_off_by_the_token_limit_says_so():
    with pytest.raises(OutputParseError, match="token limit"):
        parse('{"a": [1, 2', "max_tokens")
