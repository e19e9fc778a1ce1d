"""Convert a JSON schema to the form that OpenAI's strict mode requires.

In strict mode the model's answers always match the schema. It supports a part of JSON Schema, and requires that
objects list all their properties as required and allow no others. A schema is converted only if every strict answer
is valid under the original schema, after ``optional_nulls`` has removed the nulls of absent optional properties.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from . import optional_nulls

_COPIED = {
    *("type", "enum", "const", "title", "description", "pattern", "format", "minimum", "maximum"),
    *("exclusiveMinimum", "exclusiveMaximum", "multipleOf", "minItems", "maxItems", "required"),
}
_IGNORED = {"$schema", "$comment", "default", "examples", "deprecated", "readOnly", "writeOnly"}
_CONVERTED = {"properties", "additionalProperties", "items", "anyOf", "$ref", "$defs"}
_FORMATS = {"date-time", "time", "date", "duration", "email", "hostname", "ipv4", "ipv6", "uuid"}
_ANNOTATIONS = {"title", "description"}
_LOOKAROUND = re.compile(r"\(\?<?[=!]")
_MAX_DEPTH = 10
_REFERENCE = re.compile(r"#(/\$defs/[^/~%]+)?")
"""The references that stay valid: other parts of the schema move in the strict form."""
_CONDITIONS = {"anyOf", "enum", "const"}


class NotStrict(Exception):
    """The schema has no strict form. The message names the part and the reason."""


def strict_form(schema: Mapping[str, Any]) -> dict[str, Any]:
    """The schema in strict form. Raises NotStrict."""
    if schema.get("type") != "object":
        raise NotStrict("$ is not an object")
    return _form(schema, "$", schema, 0)


def reason_against(schema: Mapping[str, Any]) -> str | None:
    """Why the schema has no strict form, or None."""
    try:
        strict_form(schema)
    except NotStrict as exc:
        return str(exc)
    return None


def _form(node: Any, path: str, root: Mapping[str, Any], depth: int) -> dict[str, Any]:
    if not isinstance(node, Mapping) or not node.keys() & {"type", "enum", "const", "anyOf", "$ref"}:
        raise NotStrict(f"{path} allows any value")
    if depth > _MAX_DEPTH:
        raise NotStrict(f"{path} is nested more than {_MAX_DEPTH} levels deep")
    _require_supported_keywords(node, path)
    if "$ref" in node:
        return _reference(node, path)
    _require_supported_combination(node, path)
    form = {key: value for key, value in node.items() if key in _COPIED}
    if "anyOf" in node:
        form["anyOf"] = [_form(member, path, root, depth + 1) for member in node["anyOf"]]
    if "items" in node:
        form["items"] = _form(node["items"], f"{path}[]", root, depth + 1)
    elif "array" in _types(node):
        raise NotStrict(f"{path} is an array without items")
    if "object" in _types(node):
        form |= _object(node, path, root, depth)
    if "$defs" in node:
        form["$defs"] = {
            name: _form(subschema, f"$defs.{name}", root, 0) for name, subschema in node["$defs"].items()
        }
    return form


def _require_supported_keywords(node: Mapping[str, Any], path: str) -> None:
    unknown = sorted(node.keys() - _COPIED - _IGNORED - _CONVERTED)
    if unknown:
        raise NotStrict(f"{path} uses {unknown[0]!r}")
    if node.get("format", "date") not in _FORMATS:
        raise NotStrict(f"{path} has the format {node['format']!r}")
    if _LOOKAROUND.search(node.get("pattern", "")):
        raise NotStrict(f"{path} has a pattern with lookahead or lookbehind")


def _reference(node: Mapping[str, Any], path: str) -> dict[str, Any]:
    others = sorted(node.keys() - _IGNORED - _ANNOTATIONS - {"$ref"})
    if others:
        raise NotStrict(f"{path} has {others[0]!r} beside a $ref")
    if not _REFERENCE.fullmatch(node["$ref"]):
        raise NotStrict(f"{path} has a $ref that does not point to $defs")
    return {"$ref": node["$ref"]}


def _require_supported_combination(node: Mapping[str, Any], path: str) -> None:
    if "object" not in _types(node) and node.keys() & {"properties", "additionalProperties", "required"}:
        raise NotStrict(f"{path} has properties but not the type object")
    conditions = sorted(node.keys() & _CONDITIONS)
    if conditions and node.keys() & {"properties", "items"}:
        raise NotStrict(f"{path} has {conditions[0]!r} beside its properties or items")


def _object(node: Mapping[str, Any], path: str, root: Mapping[str, Any], depth: int) -> dict[str, Any]:
    properties = node.get("properties")
    if not properties or isinstance(node.get("additionalProperties"), Mapping):
        raise NotStrict(f"{path} is an object with arbitrary property names")
    required = node.get("required", [])
    missing = [name for name in required if name not in properties]
    if missing:
        raise NotStrict(f"{path}.{missing[0]} is required but not in properties")
    forms = {name: _form(subschema, f"{path}.{name}", root, depth + 1) for name, subschema in properties.items()}
    for name in optional_nulls.optional_names(node, root):
        forms[name] = _nullable(forms[name])
    return {
        "properties": forms,
        "required": list(properties),
        "additionalProperties": False,
    }


def _types(node: Mapping[str, Any]) -> list[str]:
    types = node.get("type", [])
    return [types] if isinstance(types, str) else list(types)


def _nullable(form: dict[str, Any]) -> dict[str, Any]:
    """The form of an optional property, which null marks as absent."""
    if "type" in form and not form.keys() & _CONDITIONS:
        return {**form, "type": [*_types(form), "null"]}
    return {"anyOf": [form, {"type": "null"}]}


def is_recursive(schema: Mapping[str, Any]) -> bool:
    """Whether a part of the schema refers to itself."""
    return _is_recursive_part(schema, schema, set(), set())


def _is_recursive_part(node: Any, root: Mapping[str, Any], path: set[str], done: set[str]) -> bool:
    """``path`` has the references that lead to this node, ``done`` those that are known not to be recursive."""
    if isinstance(node, list):
        return any(_is_recursive_part(child, root, path, done) for child in node)
    if not isinstance(node, Mapping):
        return False
    reference = node.get("$ref")
    if not isinstance(reference, str):
        return any(_is_recursive_part(child, root, path, done) for key, child in node.items() if key != "$defs")
    if reference in path or reference == "#":
        return True
    if reference in done:
        return False
    target = optional_nulls.target_of(reference, root)
    is_recursive = _is_recursive_part(target, root, path | {reference}, done)
    done.add(reference)
    return is_recursive
