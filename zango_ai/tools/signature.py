"""A function's signature as a JSON schema, and a model's arguments as what the function takes."""

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

from ..output import reading
from . import allowed_values

REQUIRED: Any = inspect.Parameter.empty
"""The default of a parameter that has none."""

_CONSTRAINTS = {"ge", "gt", "le", "lt", "multiple_of", "min_length", "max_length", "pattern"}
_MOST_REASONS = 20
_UNCHANGING = (str, int, float, bool, type(None), bytes, Decimal, UUID, date, time, timedelta, Enum)


@dataclasses.dataclass(frozen=True, eq=False)
class Param:
    """What ``ToolParam()`` returns."""

    description: str
    default: Any
    constraints: Mapping[str, Any]
    enum: tuple[Any, ...] | None = None
    """The only values that are allowed."""

    def __post_init__(self) -> None:
        unknown = set(self.constraints) - _CONSTRAINTS
        if unknown:
            known = ", ".join(sorted(_CONSTRAINTS))
            raise TypeError(f"ToolParam() takes no {', '.join(sorted(unknown))}; it takes {known}.")


class ArgumentsInvalid(Exception):
    """What a model gave does not fit; ``reasons`` say so to it."""

    def __init__(self, reasons: list[str]) -> None:
        super().__init__("; ".join(reasons))
        self.reasons = reasons


class Arguments:
    """What a function takes, by pydantic."""

    def __init__(self, function: Callable[..., Any]) -> None:
        """Raises whatever pydantic does for a type that it knows no schema of."""
        from pydantic import ConfigDict, TypeAdapter
        from pydantic.json_schema import GenerateJsonSchema

        class Untitled(GenerateJsonSchema):
            """Titles only repeat the names, and are paid for at each call."""

            def field_title_should_be_set(self, schema: Any) -> bool:
                return False

        plain = inspect.unwrap(function)
        hints = _hints_of(plain)
        fields = [
            _field(name, hints[name], parameter.default)
            for name, parameter in inspect.signature(plain).parameters.items()
        ]
        # A dataclass, since a parameter may have any name; a model's fields must not hide its methods.
        taken: Any = dataclasses.make_dataclass("Arguments", fields, kw_only=True)
        taken.__pydantic_config__ = ConfigDict(extra="forbid", allow_inf_nan=False)
        self._adapter: Any = TypeAdapter(taken)
        self._names = [name for name, *_ in fields]
        schema = self._adapter.json_schema(schema_generator=Untitled)
        self.schema: dict[str, Any] = {"type": "object", "properties": {}, **_untitled(schema)}
        self.return_type = _shown(plain.__annotations__.get("return"))

    def read(self, text: str) -> dict[str, Any]:
        """The arguments that a model wrote, checked and converted. Raises ArgumentsInvalid."""
        from pydantic import ValidationError

        text = text.strip() or "{}"  # some models write nothing where there is nothing to give
        try:
            given = reading.load(text)
        except ValueError as exc:
            raise ArgumentsInvalid([f"The arguments are not JSON: {_first_line(exc)}"]) from None
        if not isinstance(given, dict):
            raise ArgumentsInvalid(["The arguments are not a JSON object."])
        try:
            taken = self._adapter.validate_json(text)
        except ValidationError as exc:
            errors = exc.errors(include_url=False, include_context=False, include_input=False)
            reasons = [f"{_path(error['loc'])}: {error['msg']}" for error in errors]
            raise ArgumentsInvalid(_some(reasons)) from None
        return {name: getattr(taken, name) for name in self._names}


def _hints_of(function: Callable[..., Any]) -> dict[str, Any]:
    """The types of the parameters; of the return type nothing has to be known."""
    annotations = {name: hint for name, hint in function.__annotations__.items() if name != "return"}
    bare = types.FunctionType((lambda: None).__code__, function.__globals__)
    bare.__annotations__ = annotations
    return typing.get_type_hints(bare, include_extras=True)


def _field(name: str, hint: Any, default: Any) -> tuple[str, Any, Any]:
    from pydantic import Field

    param = default if isinstance(default, Param) else Param("", default, {})
    said = {**param.constraints, **({"description": param.description} if param.description else {})}
    if param.enum is not None:
        hint = allowed_values.limited(hint, param.enum)
        if param.default is not REQUIRED and param.default is not None:
            allowed_values.require_default(hint, param.default)
    annotated = typing.Annotated[hint, Field(**said)] if said else hint
    if param.default is REQUIRED:
        return name, annotated, dataclasses.field()
    if isinstance(param.default, _UNCHANGING):
        return name, annotated, dataclasses.field(default=param.default)
    # Each call gets one of its own: a function must not keep what the last call did to it.
    return name, annotated, dataclasses.field(default_factory=functools.partial(copy.deepcopy, param.default))


def _untitled(schema: dict[str, Any]) -> dict[str, Any]:
    """Without the titles that pydantic gives to classes."""
    schema = {key: value for key, value in schema.items() if key != "title"}
    if "$defs" in schema:
        schema["$defs"] = {
            name: {key: value for key, value in part.items() if key != "title"}
            for name, part in schema["$defs"].items()
        }
    return schema


def _path(place: tuple[int | str, ...]) -> str:
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in place).removeprefix(".")


def _some(reasons: list[str]) -> list[str]:
    left = len(reasons) - _MOST_REASONS
    return reasons if left <= 0 else [*reasons[:_MOST_REASONS], f"and {left} more"]


def _first_line(exc: BaseException) -> str:
    return str(exc).partition("\n")[0][:200]


def _shown(hint: Any) -> str:
    """A type as it is written."""
    if hint is None or isinstance(hint, str):
        return hint or ""
    is_plain = isinstance(hint, type) and not typing.get_args(hint)
    return hint.__name__ if is_plain else str(hint).replace("typing.", "")
