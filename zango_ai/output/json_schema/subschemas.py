"""The subschemas of a JSON schema, and where each is applied."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

DATA = {"const", "enum", "default", "examples"}
"""Keywords that hold values, not schemas."""
REFERENCES = {"$ref", "$dynamicRef"}

_LISTS = {"allOf", "anyOf", "oneOf"}
_SINGLE = {"not", "if", "then", "else"}
_MAPS = {"properties", "patternProperties", "dependentSchemas", "$defs", "definitions"}
"""Keywords that hold schemas by arbitrary names."""
_ANY_CHILD = {
    *("additionalProperties", "items", "contains", "propertyNames"),
    *("unevaluatedItems", "unevaluatedProperties"),
}


@dataclass(slots=True)
class Applied:
    """The subschemas that a schema applies to a value and to the value's children."""

    in_place: list[Any] = field(default_factory=list)
    """To the value itself."""
    any_child: list[Any] = field(default_factory=list)
    """To each child, or to children that depend on the value."""
    by_name: list[tuple[str | int, Any]] = field(default_factory=list)
    """To the child under one name or index."""

    def to_children(self) -> Iterator[Any]:
        yield from self.any_child
        yield from (schema for _, schema in self.by_name)


class ReferenceNotFound(Exception):
    """A reference points outside the schema or to nothing. The argument is the reference."""


class Document:
    """A whole JSON schema, in which references are looked up."""

    def __init__(self, root: Mapping[str, Any]) -> None:
        self.root = root
        self._anchors = {
            node[key]: node
            for node in walk(root)
            for key in ("$anchor", "$dynamicAnchor")
            if isinstance(node.get(key), str)
        }

    def applied_by(self, schema: Mapping[str, Any]) -> Applied:
        """Raises ReferenceNotFound."""
        applied = Applied()
        for key, value in schema.items():
            if key in REFERENCES:
                applied.in_place.append(self.resolve(value))
            elif key in _LISTS:
                applied.in_place += value
            elif key in _SINGLE:
                applied.in_place.append(value)
            elif key == "dependentSchemas":
                applied.in_place += value.values()
            elif key in _ANY_CHILD:
                applied.any_child.append(value)
            elif key == "patternProperties":
                applied.any_child += value.values()
            elif key == "properties":
                applied.by_name += value.items()
            elif key == "prefixItems":
                applied.by_name += enumerate(value)
        return applied

    def resolve(self, reference: str) -> Any:
        """The target of a reference. Raises ReferenceNotFound."""
        own_id = self.root.get("$id")
        local = reference.removeprefix(own_id) if isinstance(own_id, str) else reference
        fragment = unquote(local.removeprefix("#"))
        if fragment in self._anchors:
            return self._anchors[fragment]
        if (local and not local.startswith("#")) or (fragment and not fragment.startswith("/")):
            raise ReferenceNotFound(reference)
        target: Any = self.root
        for part in fragment.split("/")[1:]:
            name = part.replace("~1", "/").replace("~0", "~")
            if isinstance(target, list) and name.isdecimal() and int(name) < len(target):
                target = target[int(name)]
            elif isinstance(target, Mapping) and name in target:
                target = target[name]
            else:
                raise ReferenceNotFound(reference)
        return target


def walk(schema: Any) -> Iterator[Mapping[str, Any]]:
    """Each object that may be a subschema, once. The schema itself comes first."""
    stack = [schema]
    while stack:
        node = stack.pop()
        if isinstance(node, list):
            stack += node
        elif isinstance(node, Mapping):
            yield node
            for key, value in node.items():
                if key in _MAPS and isinstance(value, Mapping):
                    stack += value.values()
                elif key not in DATA:
                    stack.append(value)
