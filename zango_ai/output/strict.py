"""The form of a JSON schema that OpenAI's strict mode takes: the model then cannot answer anything else.

Strict mode knows a part of JSON Schema, and wants every property of an object to be required and no other to be
allowed. A schema is put into that form where its every answer still is one that the schema itself allows, once
``added_nulls`` has dropped the nulls that stand for optional properties.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from . import added_nulls

_KEPT = {
    *("type", "enum", "const", "title", "description", "pattern", "format", "minimum", "maximum"),
    *("exclusiveMinimum", "exclusiveMaximum", "multipleOf", "minItems", "maxItems", "required"),
}
_DROPPED = {"$schema", "$comment", "default", "examples", "deprecated", "readOnly", "writeOnly"}
_WALKED = {"properties", "additionalProperties", "items", "anyOf", "$ref", "$defs"}
_FORMATS = {"date-time", "time", "date", "duration", "email", "hostname", "ipv4", "ipv6", "uuid"}
_NOTES = {"title", "description"}
_LOOKAROUND = re.compile(r"\(\?<?[=!]")
_MOST_DEPTH = 10
_REFERENCE = re.compile(r"#(/\$defs/[^/~%]+)?")
"""What a reference may lead to: other places look different in the strict form."""
_CONDITIONS = {"anyOf", "enum", "const"}


class NotStrict(Exception):
    """Says which part of a schema cannot be strict, and why."""


def strict_form(schema: Mapping[str, Any]) -> dict[str, Any]:
    """The schema in strict form. Raises NotStrict."""
    if schema.get("type") != "object":
        raise NotStrict("$ is not an object")
    return _form(schema, "$", schema, 0)


def reason_against(schema: Mapping[str, Any]) -> str | None:
    """Why the schema cannot be strict; None where it can."""
    try:
        strict_form(schema)
    except NotStrict as exc:
        return str(exc)
    return None


def _form(node: Any, path: str, root: Mapping[str, Any], depth: int) -> dict[str, Any]:
    if not isinstance(node, Mapping) or not node.keys() & {"type", "enum", "const", "anyOf", "$ref"}:
        raise NotStrict(f"{path} allows any value")
    if depth > _MOST_DEPTH:
        raise NotStrict(f"{path} is nested more than {_MOST_DEPTH} levels deep")
    unknown = sorted(node.keys() - _KEPT - _DROPPED - _WALKED)
    if unknown:
        raise NotStrict(f"{path} uses {unknown[0]!r}")
    if node.get("format", "date") not in _FORMATS:
        raise NotStrict(f"{path} has the format {node['format']!r}")
    if _LOOKAROUND.search(node.get("pattern", "")):
        raise NotStrict(f"{path} has a pattern that looks ahead or behind")
    if "$ref" in node:
        others = sorted(node.keys() - _DROPPED - _NOTES - {"$ref"})
        if others:
            raise NotStrict(f"{path} has {others[0]!r} beside a $ref")
        if not _REFERENCE.fullmatch(node["$ref"]):
            raise NotStrict(f"{path} has a $ref that does not lead to $defs")
        return {"$ref": node["$ref"]}
    if "object" not in _types(node) and node.keys() & {"properties", "additionalProperties", "required"}:
        raise NotStrict(f"{path} has properties and is not said to be an object")
    beside = sorted(node.keys() & _CONDITIONS)
    if beside and node.keys() & {"properties", "items"}:
        raise NotStrict(f"{path} has {beside[0]!r} beside its properties or items")
    form = {key: value for key, value in node.items() if key in _KEPT}
    if "anyOf" in node:
        form["anyOf"] = [_form(each, path, root, depth + 1) for each in node["anyOf"]]
    if "items" in node:
        form["items"] = _form(node["items"], f"{path}[]", root, depth + 1)
    elif "array" in _types(node):
        raise NotStrict(f"{path} is an array of anything")
    if "object" in _types(node):
        form |= _object(node, path, root, depth)
    if "$defs" in node:
        form["$defs"] = {name: _form(each, f"$defs.{name}", root, 0) for name, each in node["$defs"].items()}
    return form


def _object(node: Mapping[str, Any], path: str, root: Mapping[str, Any], depth: int) -> dict[str, Any]:
    properties = node.get("properties")
    if not properties or isinstance(node.get("additionalProperties"), Mapping):
        raise NotStrict(f"{path} is an object with names of its own choice")
    required = node.get("required", [])
    missing = [name for name in required if name not in properties]
    if missing:
        raise NotStrict(f"{path}.{missing[0]} is required and not described")
    forms = {name: _form(each, f"{path}.{name}", root, depth + 1) for name, each in properties.items()}
    for name in added_nulls.optional_names(node, root):
        forms[name] = _nullable(forms[name])
    return {
        "properties": forms,
        "required": list(properties),
        "additionalProperties": False,
    }


def _types(node: Mapping[str, Any]) -> list[str]:
    named = node.get("type", [])
    return [named] if isinstance(named, str) else list(named)


def _nullable(form: dict[str, Any]) -> dict[str, Any]:
    """The form of an optional property: null stands for its absence."""
    if "type" in form and not form.keys() & _CONDITIONS:
        return {**form, "type": [*_types(form), "null"]}
    return {"anyOf": [form, {"type": "null"}]}


def is_recursive(schema: Mapping[str, Any]) -> bool:
    """Whether a part of the schema leads back to itself."""
    return _leads_back(schema, schema, set(), set())


def _leads_back(node: Any, root: Mapping[str, Any], path: set[str], done: set[str]) -> bool:
    """``path``: the references that lead here. ``done``: those that are known not to lead back."""
    if isinstance(node, list):
        return any(_leads_back(each, root, path, done) for each in node)
    if not isinstance(node, Mapping):
        return False
    reference = node.get("$ref")
    if not isinstance(reference, str):
        return any(_leads_back(each, root, path, done) for key, each in node.items() if key != "$defs")
    if reference in path or reference == "#":
        return True
    if reference in done:
        return False
    found = _leads_back(added_nulls.at(root, reference), root, path | {reference}, done)
    done.add(reference)
    return found
