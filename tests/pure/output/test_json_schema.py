"""JSON schemas: what is refused when one is saved, and what an answer is told that does not match."""

import json

import jsonschema
import pytest
from hypothesis import given

from tests.pure.output.test_strict_schemas import schemas as strict_schemas_of
from tests.pure.output.test_strict_schemas import values as strict_values
from zango_ai.exceptions import OutputValidationError
from zango_ai.output import json_schema, strict_mode
from zango_ai.output.json_schema import answer_errors, cost, validation


def errors_of(value, schema):
    with pytest.raises(OutputValidationError) as caught:
        json_schema.validate(value, schema)
    return caught.value


def nested(levels, innermost=1):
    for _ in range(levels):
        innermost = [innermost]
    return innermost


def doubled(times, applied):
    """A schema whose references expand to ``2 ** times`` subschemas."""
    definitions = {"d0": {"type": "string"}}
    for n in range(1, times + 1):
        definitions[f"d{n}"] = applied({"$ref": f"#/$defs/d{n - 1}"})
    return {"$defs": definitions, "$ref": f"#/$defs/d{times}"}


# Mismatches


def test_every_schema_error_is_listed_with_its_path():
    schema = {
        "type": "object",
        "required": ["total"],
        "properties": {"items": {"items": {"properties": {"price": {"type": "number"}}}}},
    }
    error = errors_of({"items": [{"price": "x"}, {"price": "y"}]}, schema)
    assert [e["path"] for e in error.errors] == ["$", "$.items[0].price", "$.items[1].price"]
    assert error.field == "$"


def test_the_message_names_the_first_errors_in_words():
    schema = {"properties": {name: {"type": "integer"} for name in "abcde"}}
    assert str(errors_of(dict.fromkeys("abcde", "x"), schema)) == (
        "The answer does not match its JSON schema: $.a: 'x' is not of type 'integer'; "
        "$.b: 'x' is not of type 'integer'; $.c: 'x' is not of type 'integer' (and 2 more)."
    )


def test_an_error_repeats_little_of_the_answer():
    error = errors_of({"a": ["x" * 1_000_000]}, {"type": "object", "properties": {"a": {"type": "string"}}})
    assert len(error.errors[0]["message"]) < 1000
    assert len(str(error)) < 1000


def test_listing_errors_stops_after_a_hundred():
    error = errors_of([{"price": "x"}] * 50_000, {"items": {"properties": {"price": {"type": "number"}}}})
    assert len(error.errors) == 100
    assert error.errors[99]["path"] == "$[99].price"
    assert "(and 97 or more)" in str(error)


def test_listing_errors_takes_a_limited_number_of_steps(monkeypatch):
    monkeypatch.setattr(answer_errors, "MAX_STEPS", 1000)
    error = errors_of([1] * 10_000 + ["x"], {"items": {"type": "integer"}})
    assert [each["path"] for each in error.errors] == ["$"]
    assert "too large to find out where" in str(error)


@pytest.mark.parametrize(
    ("value", "schema", "words"),
    [
        ({"a": 1, "b1": 2}, {"properties": {"a": {}}, "additionalProperties": False}, "'b1' was unexpected"),
        ({"b1": "x"}, {"patternProperties": {"^b": {"type": "integer"}}}, "not of type 'integer'"),
        ({"c": 1}, {"patternProperties": {"^b": {}}, "additionalProperties": False}, "'c' was unexpected"),
        ({"c": 1}, {"additionalProperties": {"type": "string"}}, "not of type 'string'"),
        (["x", 1, "x"], {"uniqueItems": True}, "Items 0 and 2 are the same"),
        ("b", {"pattern": "^a$"}, "does not match '^a$'"),
        ("yesterday", {"type": "string", "format": "date"}, "is not a 'date'"),
        (3, {"anyOf": [{"type": "string"}, {"type": "null"}]}, "under any of the given schemas"),
        ({"a": 1}, {"unevaluatedProperties": False}, "does not evaluate"),
    ],
)
def test_an_error_says_what_is_wrong(value, schema, words):
    assert words in errors_of(value, schema).errors[0]["message"]


@given(strict_schemas_of, strict_values)
def test_an_answer_is_valid_where_the_reference_implementation_says_so(schema, value):
    is_valid = jsonschema.Draft202012Validator(schema).is_valid(value)
    if is_valid:
        json_schema.validate(value, schema)
    else:
        reference = {error.json_path for error in jsonschema.Draft202012Validator(schema).iter_errors(value)}
        assert {each["path"] for each in errors_of(value, schema).errors} == reference


# Schemas that are refused when they are saved


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        (True, "a JSON object"),
        ({"minimum": float("nan")}, "cannot be used"),
        ({"type": "strin"}, "$.type"),
        ({"properties": {"a": {"required": "a"}}}, "$.properties.a.required"),
        ({"title": "t", "$ref": "#/title"}, "not a schema"),
        ({"x": {"y": 5}, "$ref": "#/x/y"}, "not a schema"),
        ({"required": ["a"], "$ref": "#/required/x"}, "to nothing"),
        ({"$ref": "https://example.com/s.json"}, "points outside"),
        ({"$defs": {"a": {"$id": "https://example.com/a", "type": "string"}}}, "$id"),
        ({"items": {"$schema": "http://json-schema.org/draft-07/schema#"}}, "$schema"),
        ({"pattern": "(?=a)b"}, "lookahead"),
        ({"pattern": r"(a)\1"}, "backreferences"),
        ({"patternProperties": {"(?<!a)b": {}}}, "lookahead"),
        ({"properties": {"default": {"pattern": "(?=a)b"}}}, "lookahead"),
        ({"pattern": "((a{0,100}){0,100}){0,100}"}, "repetition counts"),
        ({"pattern": "(" * 50_000}, "characters"),
        ({"anyOf": [{"pattern": f"^{n}$"} for n in range(101)]}, "101 patterns"),
        ({"enum": ["x" * 100_000]}, "characters; at most 100000 are allowed"),
        ({"const": nested(101)}, "nested too deeply"),
        (doubled(27, lambda ref: {"allOf": [ref, ref]}), "expand to more than 10000"),
        (doubled(27, lambda ref: {"anyOf": [ref, ref]}), "expand to more than 10000"),
        (doubled(27, lambda ref: {"properties": {"a": ref, "b": ref}}), "expand to more than 10000"),
        (doubled(101, lambda ref: {"items": ref}), "nested too deeply"),
        ({"$ref": "#"}, "refers to itself"),
        (
            {"$defs": {"a": {"anyOf": [{"$dynamicRef": "#a"}], "$dynamicAnchor": "a"}}, "$ref": "#a"},
            "refers to itself",
        ),
    ],
)
def test_a_schema_that_cannot_be_used_is_refused_with_the_reason(schema, words):
    assert words in json_schema.problem_of(schema)


@pytest.mark.parametrize(
    "schema",
    [
        {"const": {"$ref": "http://x"}, "default": {"$ref": "y"}},
        {"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": "https://example.com/s.json"},
        {"$id": "https://example.com/s", "$defs": {"a": {}}, "items": {"$ref": "https://example.com/s#/$defs/a"}},
        {"$defs": {"a/b": {"$anchor": "here"}}, "items": {"$ref": "#here"}, "contains": {"$ref": "#/$defs/a~1b"}},
        {"properties": {"children": {"items": {"$ref": "#"}}}},
        {"properties": {"$ref": {"type": "string"}, "pattern": {}, "$id": {"type": "string"}}},
        {"pattern": "^(a+)+$"},
        {"pattern": r"^[\w .,-]{0,200}$", "patternProperties": {r"^\p{L}+$": {}}},
    ],
)
def test_other_schemas_are_taken(schema):
    assert json_schema.problem_of(schema) is None


# Answers and schemas that would take long


def test_a_pattern_takes_linear_time():
    schema = {"pattern": "^(a+)+$", "patternProperties": {"^(a+)+$": {}}, "additionalProperties": False}
    assert "does not match" in errors_of("a" * 10_000 + "!", schema).errors[0]["message"]
    assert "unexpected" in errors_of({"a" * 10_000 + "!": 1}, schema).errors[0]["message"]


def test_many_unique_objects_are_checked():
    json_schema.validate([{"n": n} for n in range(20_000)], {"uniqueItems": True})


def test_lists_of_large_ids_are_checked():
    json_schema.validate([2**62 + n for n in range(1_000)], {"uniqueItems": True})
    orders = [{"id": 2**62 + n, "tags": ["a", "b"], "price": 9.99} for n in range(1_000)]
    unique_tags = {"items": {"properties": {"tags": {"uniqueItems": True}, "price": {"multipleOf": 0.01}}}}
    json_schema.validate(orders, unique_tags)


def test_an_answer_that_is_nested_too_deeply_does_not_match():
    assert "nested more than 100" in str(errors_of(nested(101), {}))
    json_schema.validate(nested(99), {})


BRANCHES = [
    {
        "type": "object",
        "properties": {"child": {"$ref": "#/$defs/node"}, "kind": {"const": n}},
        "required": ["child", "kind"],
    }
    for n in range(4)
]
TREE = {"$defs": {"node": {"oneOf": [*BRANCHES, {"type": "string"}]}}, "$ref": "#/$defs/node"}
COUNTED = {"items": {"pattern": "^[ab]*a[ab]{1000}c$"}}


def chain(length):
    value = 5
    for _ in range(length):
        value = {"child": value}
    return value


@pytest.mark.parametrize(
    ("value", "schema"),
    [
        (chain(90), TREE),
        (["ab" * 50_000] * 10, COUNTED),
        ([{"a": 999}] * 5_000, {"items": {"enum": [{"a": n} for n in range(5_000)]}}),
        ([10**900] * 10_000, {"items": {"multipleOf": 0.0001}}),
        ([1.7e308] * 100_000, {"items": {"multipleOf": 1e-300}}),
        ([2**62 + n for n in range(20_000)], {"uniqueItems": True}),
        ([10**900 + n for n in range(500)], {"uniqueItems": True}),
        ([{"tags": ["a"] * 100, "id": 2**62 + n} for n in range(2_000)], {"uniqueItems": True}),
        ([[1]] * 50_000, {"items": {"allOf": [{"contains": {"const": 1}}] * 500}}),
    ],
)
def test_an_answer_is_not_checked_where_that_could_take_minutes(value, schema, monkeypatch):
    monkeypatch.setattr(validation, "_compiled", lambda text: pytest.fail("It was checked."))
    assert json_schema.problem_of(schema) is None
    assert "too large to be validated" in str(errors_of(value, schema))


def test_a_chain_of_unevaluated_properties_is_counted_as_it_grows():
    schema = {"properties": {"a": True}, "unevaluatedProperties": False}
    for _ in range(40):
        schema = {"allOf": [schema], "unevaluatedProperties": False}
    assert "too large to be validated" in str(errors_of({"a": 1}, schema))


LINE = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "pattern": r"^[\w .,-]{1,200}$"},
        "price": {"type": "number", "minimum": 0, "multipleOf": 0.01},
        "currency": {"enum": [f"C{n}" for n in range(180)]},
        "on": {"type": ["string", "null"], "format": "date"},
        "tags": {"type": "array", "items": {"type": "string"}, "uniqueItems": True},
    },
    "required": ["name", "price"],
    "additionalProperties": False,
}


def test_ordinary_answers_of_a_hundred_kilobytes_are_checked():
    line = {"name": "Paracetamol", "price": 1, "currency": "C7", "on": "2026-12-01", "tags": ["a", "b"]}
    value = {"lines": [line] * 1_000}
    assert len(json.dumps(value)) > 90_000
    json_schema.validate(value, {"properties": {"lines": {"items": LINE}}})


def test_trees_of_ordinary_size_are_checked():
    value = "leaf"
    for _ in range(8):
        value = {"child": value, "kind": 3}
    json_schema.validate(value, TREE)


def test_the_cost_does_not_fall_short_of_the_number_of_applications():
    levels = cost.levels_of({"a": {"a": 1}})
    same = {"properties": {"a": {"$ref": "#"}}}
    twice = {"allOf": [{"properties": {"a": {"$ref": "#"}}}] * 2}
    assert cost.units_of(json.dumps(twice), levels) > 2 * cost.units_of(json.dumps(same), levels)


def test_doubled_references_do_not_make_the_search_for_recursion_long():
    assert not strict_mode.is_recursive(doubled(60, lambda ref: {"properties": {"a": ref, "b": ref}}))
    assert strict_mode.is_recursive({"$defs": {"a": {"items": {"$ref": "#/$defs/a"}}}, "$ref": "#/$defs/a"})
