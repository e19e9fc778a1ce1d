"""A tool's parameters as rows of a table, from their JSON schema."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from django.utils.translation import gettext

_MAX_DEPTH = 4


@dataclass(frozen=True, slots=True)
class Parameter:
    """One row."""

    name: str
    type: str
    is_required: bool
    description: str
    limits: str
    """The default and what else is known, such as ``default: 5; at most 20``."""


def parameters_of(schema: Any) -> list[Parameter]:
    """The parameters in the order of their declaration."""
    if not isinstance(schema, Mapping) or not isinstance(schema.get("properties"), Mapping):
        return []
    required = schema.get("required") or []
    definitions = schema.get("$defs") or {}
    return [
        Parameter(
            name=name,
            type=_type_of(each, definitions),
            is_required=name in required,
            description=str(each.get("description") or ""),
            limits="; ".join(_limits_of(each)),
        )
        for name, each in schema["properties"].items()
        if isinstance(each, Mapping)
    ]


def _type_of(schema: Any, definitions: Mapping[str, Any], depth: int = 0) -> str:
    """The type in words: ``integer or null``, ``list of string``."""
    if not isinstance(schema, Mapping) or depth > _MAX_DEPTH:
        return gettext("any value")
    reference = schema.get("$ref")
    if isinstance(reference, str):
        name = reference.rsplit("/", 1)[-1]
        target = definitions.get(name) or {}
        return _type_of(target, definitions, depth + 1) if "enum" in target else name
    if "enum" in schema:
        values = ", ".join(json.dumps(value, ensure_ascii=False) for value in schema["enum"])
        return gettext("one of %(values)s") % {"values": values}
    options = schema.get("anyOf") or schema.get("oneOf")
    if options:
        return gettext(" or ").join(_type_of(option, definitions, depth + 1) for option in options)
    kind = schema.get("type")
    if kind == "array":
        return gettext("list of %(items)s") % {"items": _type_of(schema.get("items"), definitions, depth + 1)}
    return gettext(" or ").join(kind) if isinstance(kind, list) else str(kind or gettext("any value"))


def _limits_of(schema: Mapping[str, Any]) -> Iterator[str]:
    texts = {
        "default": gettext("default: %s"),
        "format": gettext("format: %s"),
        "minimum": gettext("at least %s"),
        "exclusiveMinimum": gettext("more than %s"),
        "maximum": gettext("at most %s"),
        "exclusiveMaximum": gettext("less than %s"),
        "minLength": gettext("at least %s characters"),
        "maxLength": gettext("at most %s characters"),
        "minItems": gettext("at least %s items"),
        "maxItems": gettext("at most %s items"),
        "pattern": gettext("pattern: %s"),
    }
    for schemas in (schema, *(each for each in schema.get("anyOf", ()) if isinstance(each, Mapping))):
        for key, text in texts.items():
            if key in schemas:
                value = schemas[key]
                yield text % (value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))
