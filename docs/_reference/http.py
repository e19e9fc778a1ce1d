"""The HTTP API, from its OpenAPI document."""

from collections.abc import Iterator, Mapping
from typing import Any

from zango_ai.api.openapi import openapi

from .markdown import code, line, table

Schema = Mapping[str, Any]


def endpoints() -> str:
    rows = [
        (
            code(f"{method.upper()} {path.lstrip('/')}"),
            f"{operation['summary']}.",
            _takes(operation),
            _gives(operation),
        )
        for path, operations in openapi("/ai")["paths"].items()
        for method, operation in operations.items()
    ]
    return table(["endpoint", "what it does", "takes", "answers with"], rows)


def schemas() -> str:
    return "\n\n".join(_section(name, schema) for name, schema in openapi("/ai")["components"]["schemas"].items())


def _takes(operation: Schema) -> str:
    body = operation.get("requestBody", {}).get("content", {})
    names = dict.fromkeys(name for content in body.values() for name in content["schema"].get("properties", {}))
    others = [each["name"] for each in operation["parameters"] if each["in"] != "path"]
    return ", ".join(code(name) for name in [*names, *others])


def _gives(operation: Schema) -> str:
    return ", ".join(
        _answer(status, response) for status, response in operation["responses"].items() if status < "4"
    )


def _answer(status: str, response: Schema) -> str:
    description = response["description"]
    named = f"[{description}](#{description.lower()})" if "content" in response else line(description).rstrip(".")
    return f"{status}: {named}"


def _section(name: str, schema: Schema) -> str:
    parts = [f"### {name}", line(schema.get("description"))]
    if "properties" in schema:
        parts.append(table(["field", "type"], _rows(schema)))
    return "\n\n".join(filter(None, parts))


def _rows(schema: Schema, prefix: str = "") -> Iterator[tuple[str, str]]:
    for name, value in schema["properties"].items():
        yield code(prefix + name), _type(value)
        inner = value.get("items", value)
        if "properties" in inner:
            yield from _rows(inner, f"{prefix}{name}{'[]' * ('items' in value)}.")


def _type(schema: Schema) -> str:
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if "oneOf" in schema:
        return " or ".join(_type(each) for each in schema["oneOf"])
    if "const" in schema:
        return code(str(schema["const"]).lower())
    kinds = schema.get("type", "any JSON")
    shown = " or ".join([kinds] if isinstance(kinds, str) else kinds)
    return shown + (f" ({schema['format']})" if "format" in schema else "")
