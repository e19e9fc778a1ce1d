"""``ToolParam()``: describe one parameter of a tool."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypedDict, TypeVar, Unpack, overload

from ..argument_checks import type_of
from .parameters import REQUIRED, ParameterInfo

Default = TypeVar("Default")


class Constraints(TypedDict, total=False):
    """The constraints that ``ToolParam()`` takes: those of pydantic's ``Field()``."""

    ge: Any
    gt: Any
    le: Any
    lt: Any
    multiple_of: float
    min_length: int
    max_length: int
    pattern: str


@overload
def ToolParam(
    description: str = ..., *, enum: Iterable[Any] | None = ..., **constraints: Unpack[Constraints]
) -> Any: ...


@overload
def ToolParam(
    description: str = ...,
    *,
    default: Default,
    enum: Iterable[Any] | None = ...,
    **constraints: Unpack[Constraints],
) -> Default: ...


def ToolParam(  # noqa: N802
    description: str = "",
    *,
    default: Any = REQUIRED,
    enum: Iterable[Any] | None = None,
    **constraints: Any,
) -> Any:
    """Describe a parameter to the model: ``item_id: int = ToolParam(description="The item's id")``.

    ``default`` makes the parameter optional. ``enum`` lists the only allowed values; for a list parameter, those of
    its items. ``constraints`` are pydantic's: ``ge``, ``gt``, ``le``, ``lt``, ``multiple_of``, ``min_length``,
    ``max_length``, ``pattern``. Any other raises TypeError.
    """
    return ParameterInfo(description, default, constraints, None if enum is None else _enum_values(enum))


def _enum_values(enum: Any) -> tuple[Any, ...]:
    if isinstance(enum, (str, bytes)) or not isinstance(enum, Iterable):
        raise TypeError(f"ToolParam(enum=...) is {type_of(enum)}; pass a list of values.")
    values = tuple(enum)
    if not values:
        raise TypeError("ToolParam(enum=...) is empty; pass at least one value.")
    return values
