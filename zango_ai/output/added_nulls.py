"""Nulls in a model's answer that stand for optional properties which the model left out.

OpenAI's strict mode requires every property. ``strict_schemas`` therefore lets optional properties be null, and the
nulls are dropped when the answer is read.
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
"""Nested unions of large objects would otherwise take exponential time."""
_ROOT = "zango-ai-whole-schema"
"""Where a part of a schema that stands alone keeps the whole schema."""


def without(value: Any, schema: Mapping[str, Any], is_valid: IsValid) -> Any:
    """A copy of the value without the nulls of properties that are optional and cannot be null.

    ``is_valid`` decides which member of an ``anyOf`` a value belongs to.
    """
    try:
        return _Dropping(schema, is_valid).without(value, schema)
    except (_TooMuch, RecursionError):
        return value


def optional_names(node: Mapping[str, Any], root: Mapping[str, Any]) -> list[str]:
    """The properties of an object that may be absent and cannot be null."""
    required = node.get("required", [])
    return [
        name
        for name, each in _mapping(node.get("properties")).items()
        if name not in required and not _may_be_null(each, root, set())
    ]


def at(root: Mapping[str, Any], reference: str) -> Any:
    """The part of the schema that a $ref leads to; None where there is none."""
    found: Any = root
    for part in reference.removeprefix("#").strip("/").split("/"):
        if part:
            found = found.get(part) if isinstance(found, Mapping) else None
    return found


class _TooMuch(Exception):
    """Dropping the nulls of this value would take too long."""


class _Dropping:
    """Drops the nulls from one value, in bounded time."""

    def __init__(self, root: Mapping[str, Any], is_valid: IsValid) -> None:
        self._root, self._is_valid = root, is_valid
        self._steps, self._checks, self._chars = _MAX_STEPS, _MAX_CHECKS, _MAX_CHECKED_CHARS
        self._whole: dict[str, Any] = json.loads(json.dumps(root), object_hook=_to_root)

    def without(self, value: Any, node: Any) -> Any:
        self._steps -= 1
        if self._steps < 0:
            raise _TooMuch
        if not isinstance(value, (dict, list)) or not isinstance(node, Mapping):
            return value
        if isinstance(node.get("$ref"), str):
            return self.without(value, at(self._root, node["$ref"]))
        if isinstance(value, list):
            value = [self.without(item, node.get("items")) for item in value]
        else:
            value = self._object(value, node)
        return self._member(value, node["anyOf"]) if "anyOf" in node else value

    def _object(self, value: dict[str, Any], node: Mapping[str, Any]) -> dict[str, Any]:
        dropped = {name for name in optional_names(node, self._root) if value.get(name, 0) is None}
        properties = _mapping(node.get("properties"))
        kept = {name: each for name, each in value.items() if name not in dropped}
        return {name: self.without(each, properties.get(name)) for name, each in kept.items()}

    def _member(self, value: Any, members: Any) -> Any:
        """The value as the first member of an ``anyOf`` allows it; unchanged where none does."""
        for member in members:
            fitting = self.without(value, member)
            if self._fits(fitting, member):
                return fitting
        return value

    def _fits(self, value: Any, member: Any) -> bool:
        self._checks -= 1
        self._chars -= len(json.dumps(value))
        if self._checks < 0 or self._chars < 0:
            raise _TooMuch
        part = json.loads(json.dumps(member), object_hook=_to_root)
        definitions = {**self._whole.get("$defs", {}), _ROOT: {**self._whole, "$defs": {}}}
        return self._is_valid(value, {"allOf": [part], "$defs": definitions})


def _to_root(node: dict[str, Any]) -> dict[str, Any]:
    return {**node, "$ref": f"#/$defs/{_ROOT}"} if node.get("$ref") == "#" else node


def _may_be_null(node: Any, root: Mapping[str, Any], seen: set[str]) -> bool:
    """Whether the schema allows null. A schema that allows anything does."""
    if not isinstance(node, Mapping):
        return node is not False
    reference = node.get("$ref")
    if isinstance(reference, str):
        if reference in seen:
            return False
        seen.add(reference)
        return _may_be_null(at(root, reference), root, seen)
    if "type" in node and "null" not in ([node["type"]] if isinstance(node["type"], str) else node["type"]):
        return False
    if None not in node.get("enum", [None]) or node.get("const") is not None:
        return False
    return "anyOf" not in node or any(_may_be_null(each, root, seen) for each in node["anyOf"])


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
