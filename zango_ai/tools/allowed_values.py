"""``ToolParam(enum=[...])``: limit a parameter's type to some values, in its JSON schema and its validation."""

from __future__ import annotations

import collections.abc
import types
import typing
from collections.abc import Iterable
from typing import Any

_COLLECTIONS = (list, set, frozenset, collections.abc.Sequence, collections.abc.Iterable, collections.abc.Set)


class EnumInvalid(TypeError):
    """A value of ``enum``, or the default, does not match the parameter."""


class _AllowedValues:
    """Annotates a type for pydantic: only these values are valid."""

    def __init__(self, values: list[Any], json_values: list[Any]) -> None:
        self.values = values
        self.json_values = json_values

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> Any:
        from pydantic_core import core_schema

        return core_schema.no_info_after_validator_function(self._check, handler(source))

    def __get_pydantic_json_schema__(self, core: Any, handler: Any) -> dict[str, Any]:
        """The schema without a ``$ref``: several vendors ignore or refuse other keywords beside one."""
        schema = handler.resolve_ref_schema(handler(core))
        others = {key: value for key, value in schema.items() if key not in {"enum", "const", "title"}}
        return {**others, "enum": self.json_values}

    def _check(self, value: Any) -> Any:
        if not any(type(value) is type(allowed) and value == allowed for allowed in self.values):
            raise ValueError(f"Use one of {', '.join(map(repr, self.json_values))}")
        return value


def limit(hint: Any, values: Iterable[Any]) -> Any:
    """The type, limited to these values. Raises EnumInvalid for a value that is not of the type.

    In ``list[T]`` and other collections, each item is limited. ``None`` stays allowed if the type allows it.
    """
    candidates = list(values)
    used: set[int] = set()
    limited_hint = _limit(hint, candidates, used)
    for position, value in enumerate(candidates):
        if position not in used:
            raise EnumInvalid(f"enum has {value!r}, which is not a valid {hint}")
    return limited_hint


def require_default(hint: Any, default: Any) -> None:
    """Raises EnumInvalid if the default is not one of the values."""
    from pydantic import TypeAdapter, ValidationError

    try:
        TypeAdapter(hint).validate_python(default)
    except ValidationError as exc:
        raise EnumInvalid(f"the default {default!r} is not in enum: {exc.errors()[0]['msg']}") from None


def _limit(hint: Any, candidates: list[Any], used: set[int]) -> Any:
    """``used`` collects the positions of the candidates that are valid for the type or a part of it."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Annotated:
        return typing.Annotated[_limit(arguments[0], candidates, used), *hint.__metadata__]
    if origin in {typing.Union, types.UnionType}:
        members = [_limit(member, candidates, used) for member in arguments if member is not type(None)]
        none = [None] if type(None) in arguments else []
        return typing.Union[(*(member for member in members if member), *none)]
    if hint in _COLLECTIONS or origin in _COLLECTIONS:
        collection: Any = origin or hint
        return collection[_limit(arguments[0] if arguments else Any, candidates, used)]
    if origin is tuple and arguments[1:] == (...,):
        item: Any = _limit(arguments[0], candidates, used)
        return tuple[item, ...]
    return _limit_plain_type(hint, candidates, used)


def _limit_plain_type(hint: Any, candidates: list[Any], used: set[int]) -> Any:
    """None if no candidate is valid for the type."""
    from pydantic import TypeAdapter, ValidationError

    adapter, values = TypeAdapter(hint), []
    for position, candidate in enumerate(candidates):
        try:
            values.append(adapter.validate_python(candidate))
        except ValidationError:
            continue
        used.add(position)
    json_values = [adapter.dump_python(value, mode="json") for value in values]
    return typing.Annotated[hint, _AllowedValues(values, json_values)] if values else None
