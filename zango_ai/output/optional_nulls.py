"""Nulls in a model's answer that stand for absent optional properties.

OpenAI's strict mode requires every property. ``strict_mode`` therefore allows null for optional properties, and
``remove()`` removes the nulls from the answer.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

IsValid = Callable[[Any, Mapping[str, Any]], bool]
"""Whether a value is valid under a schema."""

_MAX_CHECKS = 1_000
_MAX_CHECKED_CHARS = 500_000
_MAX_STEPS = 100_000
"""Limits the time: without them, nested unions of large objects would take exponential time."""
_ROOT = "zango-ai-whole-schema"
"""The name under ``$defs`` of the whole schema, in a subschema that is validated on its own."""


def remove(value: Any, schema: Mapping[str, Any], is_valid: IsValid) -> Any:
    """A copy of the value without nulls of optional properties that the schema does not allow to be null.

    ``is_valid`` decides which member of an ``anyOf`` applies to a value. If the work would take too long, the value
    is returned unchanged.
    """
    try:
        return _NullRemoval(schema, is_valid).remove(value, schema)
    except (_TooMuchWork, RecursionError):
        return value


def optional_names(node: Mapping[str, Any], root: Mapping[str, Any]) -> list[str]:
    """The properties of an object schema that may be absent but not null."""
    required = node.get("required", [])
    return [
        name
        for name, subschema in _mapping(node.get("properties")).items()
        if name not in required and not _allows_null(subschema, root, set())
    ]


def target_of(reference: str, root: Mapping[str, Any]) -> Any:
    """The subschema that a $ref points to, or None."""
    target: Any = root
    for part in reference.removeprefix("#").strip("/").split("/"):
        if part:
            target = target.get(part) if isinstance(target, Mapping) else None
    return target


class _TooMuchWork(Exception):
    """A limit of the work is exceeded."""


class _NullRemoval:
    """Removes the nulls from one value, in bounded time."""

    def __init__(self, root: Mapping[str, Any], is_valid: IsValid) -> None:
        self._root, self._is_valid = root, is_valid
        self._steps, self._checks, self._chars = _MAX_STEPS, _MAX_CHECKS, _MAX_CHECKED_CHARS
        self._whole: dict[str, Any] = json.loads(json.dumps(root), object_hook=_redirect_root)

    def remove(self, value: Any, node: Any) -> Any:
        self._steps -= 1
        if self._steps < 0:
            raise _TooMuchWork
        if not isinstance(value, (dict, list)) or not isinstance(node, Mapping):
            return value
        if isinstance(node.get("$ref"), str):
            return self.remove(value, target_of(node["$ref"], self._root))
        if isinstance(value, list):
            value = [self.remove(item, node.get("items")) for item in value]
        else:
            value = self._object(value, node)
        return self._any_of(value, node["anyOf"]) if "anyOf" in node else value

    def _object(self, value: dict[str, Any], node: Mapping[str, Any]) -> dict[str, Any]:
        nulls = {name for name in optional_names(node, self._root) if value.get(name, 0) is None}
        properties = _mapping(node.get("properties"))
        return {
            name: self.remove(child, properties.get(name)) for name, child in value.items() if name not in nulls
        }

    def _any_of(self, value: Any, members: Any) -> Any:
        """The value without nulls by the first member under which it is then valid; otherwise unchanged."""
        for member in members:
            without_nulls = self.remove(value, member)
            if self._is_valid_member(without_nulls, member):
                return without_nulls
        return value

    def _is_valid_member(self, value: Any, member: Any) -> bool:
        self._checks -= 1
        self._chars -= len(json.dumps(value))
        if self._checks < 0 or self._chars < 0:
            raise _TooMuchWork
        subschema = json.loads(json.dumps(member), object_hook=_redirect_root)
        definitions = {**self._whole.get("$defs", {}), _ROOT: {**self._whole, "$defs": {}}}
        return self._is_valid(value, {"allOf": [subschema], "$defs": definitions})


def _redirect_root(node: dict[str, Any]) -> dict[str, Any]:
    """Point a reference to the root at the whole schema under ``$defs``."""
    return {**node, "$ref": f"#/$defs/{_ROOT}"} if node.get("$ref") == "#" else node


def _allows_null(node: Any, root: Mapping[str, Any], seen: set[str]) -> bool:
    """Whether the schema allows null, as a schema without restrictions does."""
    if not isinstance(node, Mapping):
        return node is not False
    reference = node.get("$ref")
    if isinstance(reference, str):
        if reference in seen:
            return False
        seen.add(reference)
        return _allows_null(target_of(reference, root), root, seen)
    if "type" in node and "null" not in ([node["type"]] if isinstance(node["type"], str) else node["type"]):
        return False
    if None not in node.get("enum", [None]) or node.get("const") is not None:
        return False
    return "anyOf" not in node or any(_allows_null(member, root, seen) for member in node["anyOf"])


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
