"""A function's parameters as a JSON schema; a model's arguments as values for the function."""

from __future__ import annotations

import copy
import dataclasses
import functools
import inspect
import types
import typing
from collections.abc import Callable, Mapping
from datetime import date, time, timedelta
from decimal import Decimal
from enum import Enum
from typing import Any
from uuid import UUID

from ..output import json_reader
from . import allowed_values

REQUIRED: Any = inspect.Parameter.empty
"""The default of a parameter that has none."""

_CONSTRAINTS = {"ge", "gt", "le", "lt", "multiple_of", "min_length", "max_length", "pattern"}
_MAX_REASONS = 20
_IMMUTABLE = (str, int, float, bool, type(None), bytes, Decimal, UUID, date, time, timedelta, Enum)


@dataclasses.dataclass(frozen=True, eq=False)
class ParameterInfo:
    """What ``ToolParam()`` returns."""

    description: str
    default: Any
    constraints: Mapping[str, Any]
    enum: tuple[Any, ...] | None = None
    """The only allowed values."""

    def __post_init__(self) -> None:
        unknown = set(self.constraints) - _CONSTRAINTS
        if unknown:
            known = ", ".join(sorted(_CONSTRAINTS))
            raise TypeError(f"ToolParam() has no argument {', '.join(sorted(unknown))}. Constraints are: {known}.")


class InvalidArguments(Exception):
    """The model's arguments do not match the tool's parameters. ``reasons`` are sent to the model."""

    def __init__(self, reasons: list[str]) -> None:
        super().__init__("; ".join(reasons))
        self.reasons = reasons


class Parameters:
    """The parameters of a function, as pydantic understands their annotations."""

    def __init__(self, function: Callable[..., Any]) -> None:
        """Raises pydantic's error for a type that it cannot make a JSON schema of."""
        from pydantic import ConfigDict, TypeAdapter
        from pydantic.json_schema import GenerateJsonSchema

        class WithoutTitles(GenerateJsonSchema):
            """Titles repeat the names, and cost tokens in each request."""

            def field_title_should_be_set(self, schema: Any) -> bool:
                return False

        original = inspect.unwrap(function)
        hints = _type_hints(original)
        fields = [
            _field(name, hints[name], parameter.default)
            for name, parameter in inspect.signature(original).parameters.items()
        ]
        # A dataclass may have a field of any name. A pydantic model's fields must not hide its methods.
        arguments_class: Any = dataclasses.make_dataclass("Arguments", fields, kw_only=True)
        arguments_class.__pydantic_config__ = ConfigDict(extra="forbid", allow_inf_nan=False)
        self._adapter: Any = TypeAdapter(arguments_class)
        self._names = [name for name, *_ in fields]
        schema = self._adapter.json_schema(schema_generator=WithoutTitles)
        self.schema: dict[str, Any] = {"type": "object", "properties": {}, **_without_class_titles(schema)}
        self.return_type = _type_name(original.__annotations__.get("return"))

    def read(self, text: str) -> dict[str, Any]:
        """The arguments in a model's JSON, checked and converted. Raises InvalidArguments."""
        from pydantic import ValidationError

        text = text.strip() or "{}"  # some models send nothing if there are no arguments
        try:
            value = json_reader.load(text)
        except ValueError as exc:
            raise InvalidArguments([f"The arguments are not valid JSON: {_first_line(exc)}"]) from None
        if not isinstance(value, dict):
            raise InvalidArguments(["The arguments are not a JSON object."])
        try:
            arguments = self._adapter.validate_json(text)
        except ValidationError as exc:
            errors = exc.errors(include_url=False, include_context=False, include_input=False)
            raise InvalidArguments(_first([f"{_path(error['loc'])}: {error['msg']}" for error in errors])) from None
        return {name: getattr(arguments, name) for name in self._names}


def _type_hints(function: Callable[..., Any]) -> dict[str, Any]:
    """The types of the parameters. The return type is left out: it need not be importable."""
    annotations = {name: hint for name, hint in function.__annotations__.items() if name != "return"}
    stand_in = types.FunctionType((lambda: None).__code__, function.__globals__)
    stand_in.__annotations__ = annotations
    return typing.get_type_hints(stand_in, include_extras=True)


def _field(name: str, hint: Any, default: Any) -> tuple[str, Any, Any]:
    from pydantic import Field

    info = default if isinstance(default, ParameterInfo) else ParameterInfo("", default, {})
    options = {**info.constraints, **({"description": info.description} if info.description else {})}
    if info.enum is not None:
        hint = allowed_values.limit(hint, info.enum)
        if info.default is not REQUIRED and info.default is not None:
            allowed_values.require_default(hint, info.default)
    annotated = typing.Annotated[hint, Field(**options)] if options else hint
    if info.default is REQUIRED:
        return name, annotated, dataclasses.field()
    if isinstance(info.default, _IMMUTABLE):
        return name, annotated, dataclasses.field(default=info.default)
    # Each call gets a copy, so that no call sees what another did to it.
    return name, annotated, dataclasses.field(default_factory=functools.partial(copy.deepcopy, info.default))


def _without_class_titles(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema without the titles that pydantic gives to classes."""
    schema = {key: value for key, value in schema.items() if key != "title"}
    if "$defs" in schema:
        schema["$defs"] = {
            name: {key: value for key, value in definition.items() if key != "title"}
            for name, definition in schema["$defs"].items()
        }
    return schema


def _path(location: tuple[int | str, ...]) -> str:
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location).removeprefix(".")


def _first(reasons: list[str]) -> list[str]:
    more = len(reasons) - _MAX_REASONS
    return reasons if more <= 0 else [*reasons[:_MAX_REASONS], f"and {more} more"]


def _first_line(exc: BaseException) -> str:
    return str(exc).partition("\n")[0][:200]


def _type_name(hint: Any) -> str:
    """The type as it is written in source code."""
    if hint is None or isinstance(hint, str):
        return hint or ""
    is_class = isinstance(hint, type) and not typing.get_args(hint)
    return hint.__name__ if is_class else str(hint).replace("typing.", "")
