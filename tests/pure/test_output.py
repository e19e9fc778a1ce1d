import pytest
from hypothesis import given

from tests.pure.test_strict_schemas import schemas as strict_schemas_of
from tests.pure.test_strict_schemas import values as strict_values
from zango_ai import output
from zango_ai.exceptions import OutputParseError, OutputValidationError


def parse(content, stop_reason="end_turn"):
    return output.parse(content, stop_reason=stop_reason)


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
        ("Sure! Here it is", "not JSON"),
        ('{"a": NaN}', "NaN"),
        ("[" * 100_000, "nested too deeply"),
        ("9" * 5000, "an integer of 5000 digits"),
        ("1e999", "too large"),
        ('{"a": 1, "b": 2, "a": 3}', "the key 'a' stands twice"),
        ('First {"a": 1}, or {"a": 2}?', "2 JSON values"),
        ("```json\n[1]\n```\n```json\n[2]\n```", "2 JSON values"),
        ("x" + "{[" * 5000, "not JSON"),
        ("so: " + "[" * 100_000, "nested too deeply"),
        ('{"items": [{"a": 1},]}', "not JSON"),
        ('{"total": 3, "lines": []', "not JSON"),
        ("{'total': {\"a\": 1}}", "not JSON"),
        ('Here: {"total": 3, "lines": []', "not JSON"),
        ('Input:\n```json\n{"a": 1}\n```\nAnswer: {"a": 2}', "2 JSON values"),
        ("```" + "a" * 200_000, "not JSON"),
        ("so: " + "[" * 400 + "1," * 200_000, "not JSON"),
    ],
)
def test_what_is_not_json_is_refused_with_the_reason(content, reason):
    with pytest.raises(OutputParseError, match=reason) as caught:
        parse(content)
    assert caught.value.content == content


def test_an_answer_cut_off_by_the_token_limit_says_so():
    with pytest.raises(OutputParseError, match="token limit"):
        parse('{"a": [1, 2', "max_tokens")


def test_every_schema_error_is_listed_with_its_path():
    schema = {
        "type": "object",
        "required": ["total"],
        "properties": {"items": {"items": {"properties": {"price": {"type": "number"}}}}},
    }
    with pytest.raises(OutputValidationError) as caught:
        output.validate({"items": [{"price": "x"}, {"price": "y"}]}, schema)
    error = caught.value
    assert [e["path"] for e in error.errors] == ["$", "$.items[0].price", "$.items[1].price"]
    assert error.field == "$"


def test_formats_are_checked():
    with pytest.raises(OutputValidationError):
        output.validate("yesterday", {"type": "string", "format": "date"})


FORMATS = ["date", "date-time", "time", "email", "hostname", "ipv4", "ipv6", "uri", "uuid", "duration", "regex"]
STRINGS = ["2026-12-01", "2026-13-01", "10:00:00Z", "a@b.example", "a b", "::1", "1.2.3.4", "P1D", "(", "", "x"]


@pytest.mark.parametrize("name", FORMATS)
def test_both_validators_say_the_same_of_formats(name):
    schema = {"type": "array", "items": {"type": "string", "format": name}}
    for text in STRINGS:
        assert output._is_surely_valid([text], schema) == output._validator(schema).is_valid([text]), text


@given(strict_schemas_of, strict_values)
def test_both_validators_say_the_same(schema, value):
    assert output._is_surely_valid(value, schema) == output._validator(schema).is_valid(value)


def test_an_error_repeats_little_of_the_answer():
    with pytest.raises(OutputValidationError) as caught:
        output.validate({"a": ["x" * 1_000_000]}, {"type": "object", "properties": {"a": {"type": "string"}}})
    assert len(caught.value.errors[0]["message"]) < 1000


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        (True, "an object"),
        ({"minimum": float("nan")}, "cannot be used"),
        ({"title": "t", "$ref": "#/title"}, "no schema"),
        ({"required": ["a"], "$ref": "#/required/x"}, ""),
    ],
)
def test_an_odd_schema_is_refused(schema, words):
    assert words in output.problem_of(schema)


def test_a_value_in_a_schema_is_no_reference():
    assert output.problem_of({"const": {"$ref": "http://x"}, "default": {"$ref": "y"}}) is None
