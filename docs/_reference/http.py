"""The HTTP API, from its OpenAPI document."""

from collections.abc import Iterator, Mapping
from typing import Any

from zango_ai.api.openapi import openapi

from .markdown import code, line, table

Schema = Mapping[str, Any]


def endpoints() -> str:
    return "\n\n".join(
        _endpoint(f"{method.upper()} {path[1:]}", operation)
        for path, operations in openapi("/ai")["paths"].items()
        for method, operation in operations.items()
    )


def schemas() -> str:
    return "\n\n".join(_section(name, schema) for name, schema in openapi("/ai")["components"]["schemas"].items())


def _endpoint(route: str, operation: Schema) -> str:
    name = f"Name of the URL: `zango_ai:{operation['operationId']}`."
    parts = [f"### {operation['summary']}", f"```text\n{route}\n```", name, _takes(operation), _gives(operation)]
    return "\n\n".join(filter(None, parts))


def _takes(operation: Schema) -> str:
    body = operation.get("requestBody", {}).get("content", {})
    found = [field for content in reversed(body.values()) for field in content["schema"]["properties"].items()]
    rows = [(code(name), _type(field), line(field.get("description"))) for name, field in dict(found).items()]
    others = [each for each in operation["parameters"] if each["in"] != "path"]
    rows += [(code(each["name"]), _type_and_place(each), line(each.get("description"))) for each in others]
    return table(["field", "type", "meaning"], rows) if rows else ""


def _type_and_place(parameter: Schema) -> str:
    return f"{_type(parameter['schema'])}, in the {parameter['in']}"


def _gives(operation: Schema) -> str:
    answers = operation["responses"].items()
    return "Answers: " + "; ".join(_answer(status, response) for status, response in answers if status < "4") + "."


def _answer(status: str, response: Schema) -> str:
    description = response["description"]
    if "content" not in response:
        return f"{status}, {description[:1].lower()}{line(description)[1:].rstrip('.')}"
    (media_type,) = response["content"]
    return f"{status}, `{media_type}`: [{description}](#{description.lower()})"


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
