"""Which schemas OpenAI's strict mode takes, in which form, and why not the others."""

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zango_ai.strict_schemas import NotStrict, is_recursive, reason_against, strict_form

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
        ({"type": "object"}, "$ is an object with names of its own choice"),
        (obj({"a": {"type": "object", "additionalProperties": {"type": "string"}}}), "$.a is an object with names"),
        (obj({"a": {"type": "string"}}, []), "$.a is optional and cannot be null"),
        (obj({"a": {"items": [{}], "type": "array"}}), "$.a[] allows any value"),
        (obj({"a": {"type": "array"}}), "$.a is an array of anything"),
        (obj({"a": {}}), "$.a allows any value"),
        (obj({"a": True}), "$.a allows any value"),
        (obj({"a": {"type": "string", "minLength": 3}}), "$.a uses 'minLength'"),
        (obj({"a": {"oneOf": [{"type": "string"}], "type": "string"}}), "$.a uses 'oneOf'"),
        (obj({"a": {"type": "string", "format": "uri"}}), "$.a has the format 'uri'"),
        ({**obj({"a": ITEM}), "if": {}}, "$ uses 'if'"),
        (obj({"a": {"type": "string"}}, ["a", "b"]), "$.b is required and not described"),
        (obj({"a": {"type": "string", "pattern": "^(?!x)"}}), "$.a has a pattern"),
        (obj({"a": {"$ref": "#/$defs/b", "additionalProperties": False}}), "$.a has 'additionalProperties' beside"),
        (obj({"a": {"anyOf": [{"type": "string"}], "required": ["x"]}}), "$.a has properties and is not said"),
    ],
)
def test_what_cannot_be_strict_says_why(schema, reason):
    assert reason_against(schema).startswith(reason)
    with pytest.raises(NotStrict):
        strict_form(schema)


def test_words_beside_a_reference_are_left_out():
    """OpenAI refuses a schema with anything beside a $ref."""
    schema = {**obj({"a": {"$ref": "#/$defs/b", "description": "what it is"}}), "$defs": {"b": {"type": "string"}}}
    assert strict_form(schema)["properties"]["a"] == {"$ref": "#/$defs/b"}


def test_references_that_lead_in_circles_end_somewhere():
    loops = {"anyOf": [{"$ref": "#/$defs/a"}] * 14}
    schema = {**obj({"x": {"$ref": "#/$defs/a"}}, []), "$defs": {"a": loops}}
    assert reason_against(schema) == "$.x is optional and cannot be null"
    assert is_recursive(schema)
    assert not is_recursive({**obj({"x": {"$ref": "#/$defs/a"}}), "$defs": {"a": {"type": "string"}}})


def test_a_schema_that_holds_itself_can_be_strict():
    tree = obj({"children": {"type": "array", "items": {"$ref": "#"}}})
    assert strict_form(tree)["properties"]["children"] == {"type": "array", "items": {"$ref": "#"}}


leaves = st.sampled_from(
    [{"type": "string"}, {"type": "integer"}, {"type": ["number", "null"]}, {"enum": ["a", None]}, {"type": "null"}]
)
schemas = st.recursive(
    leaves,
    lambda inner: st.one_of(
        inner.map(lambda each: {"type": "array", "items": each}),
        st.lists(inner, min_size=1, max_size=2).map(lambda many: {"anyOf": many}),
        st.builds(
            lambda properties, count: obj(properties, list(properties)[:count]),
            st.dictionaries(st.sampled_from("abc"), inner, min_size=1, max_size=3),
            st.integers(0, 3),
        ),
    ),
    max_leaves=8,
)
values = st.recursive(
    st.sampled_from([None, "a", 1, 2.5, True]),
    lambda inner: st.one_of(
        st.lists(inner, max_size=2), st.dictionaries(st.sampled_from("abcd"), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from("abc"), schemas, min_size=1, max_size=3).map(obj), values)
def test_whatever_the_strict_form_allows_the_schema_itself_allows(schema, value):
    try:
        form = strict_form(schema)
    except NotStrict:
        return
    jsonschema.Draft202012Validator.check_schema(form)
    if jsonschema.Draft202012Validator(form).is_valid(value):
        assert jsonschema.Draft202012Validator(schema).is_valid(value)
