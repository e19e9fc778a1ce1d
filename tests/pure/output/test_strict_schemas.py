"""Which schemas OpenAI's strict mode takes, in which form, and why not the others."""

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zango_ai.output import json_schema
from zango_ai.output.strict_mode import NotStrict, is_recursive, reason_against, strict_form

ITEM = {"type": "object", "properties": {"price": {"type": "number", "minimum": 0}}, "required": ["price"]}


def obj(properties, required=None):
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties) if required is None else required,
    }


def test_objects_are_closed_and_everything_is_required():
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **obj(
            {
                "items": {"type": "array", "items": {"$ref": "#/$defs/item"}},
                "note": {"type": ["string", "null"], "default": None},
            },
            required=["items"],
        ),
        "$defs": {"item": ITEM},
    }
    form = strict_form(schema)
    assert form == {
        "type": "object",
        "properties": {
            "items": {"type": "array", "items": {"$ref": "#/$defs/item"}},
            "note": {"type": ["string", "null"]},
        },
        "required": ["items", "note"],
        "additionalProperties": False,
        "$defs": {"item": {**ITEM, "additionalProperties": False}},
    }


@pytest.mark.parametrize(
    "nullable",
    [
        {"type": ["string", "null"]},
        {"anyOf": [{"type": "string"}, {"type": "null"}]},
        {"enum": ["a", None]},
        {"$ref": "#/$defs/maybe"},
    ],
)
def test_what_is_optional_and_may_be_null_is_asked_for(nullable):
    schema = {**obj({"a": nullable}, []), "$defs": {"maybe": {"anyOf": [{"type": "null"}, {"type": "number"}]}}}
    assert strict_form(schema)["required"] == ["a"]


@pytest.mark.parametrize(
    ("schema", "reason"),
    [
        ({"type": "array", "items": {"type": "string"}}, "$ is not an object"),
        ({"anyOf": [ITEM]}, "$ is not an object"),
        ({"type": "object"}, "$ is an object with arbitrary property names"),
        (
            obj({"a": {"type": "object", "additionalProperties": {"type": "string"}}}),
            "$.a is an object with arbitrary",
        ),
        (obj({"a": {"items": [{}], "type": "array"}}), "$.a[] allows any value"),
        (obj({"a": {"type": "array"}}), "$.a is an array without items"),
        (obj({"a": {}}), "$.a allows any value"),
        (obj({"a": True}), "$.a allows any value"),
        (obj({"a": {"type": "string", "minLength": 3}}), "$.a uses 'minLength'"),
        (obj({"a": {"oneOf": [{"type": "string"}], "type": "string"}}), "$.a uses 'oneOf'"),
        (obj({"a": {"type": "string", "format": "uri"}}), "$.a has the format 'uri'"),
        ({**obj({"a": ITEM}), "if": {}}, "$ uses 'if'"),
        (obj({"a": {"type": "string"}}, ["a", "b"]), "$.b is required but not in properties"),
        (obj({"a": {"type": "string", "pattern": "^(?!x)"}}), "$.a has a pattern"),
        (obj({"a": {"$ref": "#/$defs/b", "additionalProperties": False}}), "$.a has 'additionalProperties' beside"),
        (obj({"a": {"anyOf": [{"type": "string"}], "required": ["x"]}}), "$.a has properties but not the type"),
        (obj({"a": {**ITEM, "anyOf": [ITEM]}}), "$.a has 'anyOf' beside its properties"),
        (obj({"a": {**ITEM, "enum": [{"price": 1}]}}), "$.a has 'enum' beside its properties"),
        (obj({"a": {"type": "string"}, "b": {"$ref": "#/properties/a"}}, ["b"]), "$.b has a $ref that"),
        ({**obj({"a": ITEM}), "$ref": "#/$defs/b"}, "$ has 'properties' beside a $ref"),
    ],
)
def test_what_cannot_be_strict_says_why(schema, reason):
    assert reason_against(schema).startswith(reason)
    with pytest.raises(NotStrict):
        strict_form(schema)


@pytest.mark.parametrize(
    ("optional", "nullable"),
    [
        ({"type": "string", "format": "date"}, {"type": ["string", "null"], "format": "date"}),
        (ITEM, {**ITEM, "type": ["object", "null"], "additionalProperties": False}),
        ({"type": "string", "enum": ["a"]}, {"anyOf": [{"type": "string", "enum": ["a"]}, {"type": "null"}]}),
        ({"const": 1}, {"anyOf": [{"const": 1}, {"type": "null"}]}),
        ({"$ref": "#/$defs/b"}, {"anyOf": [{"$ref": "#/$defs/b"}, {"type": "null"}]}),
        (
            {"anyOf": [{"type": "string"}, {"type": "number"}]},
            {"anyOf": [{"anyOf": [{"type": "string"}, {"type": "number"}]}, {"type": "null"}]},
        ),
    ],
)
def test_what_is_optional_may_be_null_instead(optional, nullable):
    form = strict_form({**obj({"a": optional}, []), "$defs": {"b": {"type": "string"}}})
    assert form["properties"]["a"] == nullable
    assert form["required"] == ["a"]


def test_a_reference_among_the_definitions_is_kept():
    schema = {**obj({"a": {"$ref": "#/$defs/b"}}), "$defs": {"b": {"$ref": "#/$defs/c"}, "c": {"type": "string"}}}
    assert strict_form(schema)["$defs"]["b"] == {"$ref": "#/$defs/c"}


def test_words_beside_a_reference_are_left_out():
    """OpenAI refuses a schema with anything beside a $ref."""
    schema = {**obj({"a": {"$ref": "#/$defs/b", "description": "what it is"}}), "$defs": {"b": {"type": "string"}}}
    assert strict_form(schema)["properties"]["a"] == {"$ref": "#/$defs/b"}


def test_references_that_lead_in_circles_end_somewhere():
    loops = {"anyOf": [{"$ref": "#/$defs/a"}] * 14}
    schema = {**obj({"x": {"$ref": "#/$defs/a"}}, []), "$defs": {"a": loops}}
    assert strict_form(schema)["properties"]["x"] == {"anyOf": [{"$ref": "#/$defs/a"}, {"type": "null"}]}
    assert is_recursive(schema)
    assert not is_recursive({**obj({"x": {"$ref": "#/$defs/a"}}), "$defs": {"a": {"type": "string"}}})


def test_a_schema_that_holds_itself_can_be_strict():
    tree = obj({"children": {"type": "array", "items": {"$ref": "#"}}})
    assert strict_form(tree)["properties"]["children"] == {"type": "array", "items": {"$ref": "#"}}


def is_no_reference(schema):
    """A reference beside no property or item could lead back to itself without an end."""
    return "$ref" not in schema


leaves = st.sampled_from(
    [
        *({"type": "string"}, {"type": "integer"}, {"type": ["number", "null"]}, {"type": "null"}),
        *({"enum": ["a", None]}, {"const": "a"}),
    ]
)
references = st.sampled_from([{"$ref": "#"}, {"$ref": "#/$defs/b"}])


def nested(leaves):
    return st.recursive(
        leaves,
        lambda inner: st.one_of(
            inner.map(lambda each: {"type": "array", "items": each}),
            st.lists(inner.filter(is_no_reference), min_size=1, max_size=2).map(lambda many: {"anyOf": many}),
            st.builds(
                lambda properties, count: obj(properties, list(properties)[:count]),
                st.dictionaries(st.sampled_from("abc"), inner, min_size=1, max_size=3),
                st.integers(0, 3),
            ),
        ),
        max_leaves=8,
    )


schemas = nested(leaves)
values = st.recursive(
    st.sampled_from([None, "a", 1, 2.5, True]),
    lambda inner: st.one_of(
        st.lists(inner, max_size=2), st.dictionaries(st.sampled_from("abcd"), inner, max_size=3)
    ),
    max_leaves=8,
)


roots = st.builds(
    lambda properties, count, b: {**obj(properties, list(properties)[:count]), "$defs": {"b": b}},
    st.dictionaries(st.sampled_from("abc"), nested(leaves | references), min_size=1, max_size=3),
    st.integers(0, 3),
    nested(leaves | references).filter(is_no_reference),
)


def of_form(form, draw, depth=0):
    """A value of a strict form; null where it becomes too deep."""
    return from_form(form, form, draw, depth)


def from_form(node, root, draw, depth):
    if "$ref" in node:
        node = root if node["$ref"] == "#" else root["$defs"]["b"]
        return from_form(node, root, draw, depth + 1)
    if "anyOf" in node:
        return from_form(draw(st.sampled_from(node["anyOf"])), root, draw, depth + 1)
    if "enum" in node or "const" in node:
        return draw(st.sampled_from(node.get("enum") or [node["const"]]))
    named = node["type"] if isinstance(node["type"], list) else [node["type"]]
    kind = "null" if depth > 12 else draw(st.sampled_from(named))
    if kind == "object":
        return {name: from_form(each, root, draw, depth + 1) for name, each in node["properties"].items()}
    if kind == "array":
        return [from_form(node["items"], root, draw, depth + 1) for _ in range(draw(st.integers(0, 2)))]
    return {"null": None, "string": "a", "integer": 1, "number": 2.5}[kind]


@settings(deadline=None)
@given(roots, values, st.data())
def test_whatever_the_strict_form_allows_the_schema_itself_allows_once_added_nulls_are_removed(schema, value, data):
    try:
        form = strict_form(schema)
    except NotStrict:
        return
    jsonschema.Draft202012Validator.check_schema(form)
    for answer in (value, of_form(form, data.draw)):
        if jsonschema.Draft202012Validator(form).is_valid(answer):
            assert jsonschema.Draft202012Validator(schema).is_valid(json_schema.validate_answer(answer, schema))


@settings(deadline=None)
@given(roots, values)
def test_a_value_that_is_valid_is_read_as_it_is(schema, value):
    if jsonschema.Draft202012Validator(schema).is_valid(value):
        assert json_schema.validate_answer(value, schema) == value
