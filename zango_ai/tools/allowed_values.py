"""``ToolParam(enum=[...])``: limit a parameter's type to some values, in its JSON schema and in its validation."""

from __future__ import annotations

import collections.abc
import types
import typing
from collections.abc import Iterable
from typing import Any

_LISTS = (list, set, frozenset, collections.abc.Sequence, collections.abc.Iterable, collections.abc.Set)


class EnumInvalid(TypeError):
    """A value of ``enum`` or the default does not fit the parameter."""


class _Allowed:
    """pydantic's metadata of a type that takes these values only."""

    def __init__(self, values: list[Any], as_json: list[Any]) -> None:
        self.values = values
        self.as_json = as_json

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> Any:
        from pydantic_core import core_schema

        return core_schema.no_info_after_validator_function(self._check, handler(source))

    def __get_pydantic_json_schema__(self, core: Any, handler: Any) -> dict[str, Any]:
        """Written out, since several vendors ignore or refuse keywords beside a ``$ref``."""
        schema = handler.resolve_ref_schema(handler(core))
        kept = {key: value for key, value in schema.items() if key not in {"enum", "const", "title"}}
        return {**kept, "enum": self.as_json}

    def _check(self, value: Any) -> Any:
        if not any(type(value) is type(each) and value == each for each in self.values):
            raise ValueError(f"Use one of {', '.join(map(repr, self.as_json))}")
        return value


def limited(hint: Any, values: Iterable[Any]) -> Any:
    """The type with these values only. Raises EnumInvalid for a value that the type does not take.

    Of ``list[T]`` and other collections each item is limited. ``None`` stays allowed where the type takes it.
    """
    given = list(values)
    taken: set[int] = set()
    made = _limited(hint, given, taken)
    for position, value in enumerate(given):
        if position not in taken:
            raise EnumInvalid(f"enum has {value!r}, which is no {hint}")
    return made


def require_default(hint: Any, default: Any) -> None:
    """Raises EnumInvalid where the default is none of the values."""
    from pydantic import TypeAdapter, ValidationError

    try:
        TypeAdapter(hint).validate_python(default)
    except ValidationError as exc:
        raise EnumInvalid(f"the default {default!r} is not in enum: {exc.errors()[0]['msg']}") from None


def _limited(hint: Any, given: list[Any], taken: set[int]) -> Any:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Annotated:
        return typing.Annotated[_limited(arguments[0], given, taken), *hint.__metadata__]
    if origin in {typing.Union, types.UnionType}:
        arms = [_limited(arm, given, taken) for arm in arguments if arm is not type(None)]
        return typing.Union[(*(arm for arm in arms if arm), *([None] if type(None) in arguments else []))]
    if hint in _LISTS or origin in _LISTS:
        collection: Any = origin or hint
        return collection[_limited(arguments[0] if arguments else Any, given, taken)]
    if origin is tuple and arguments[1:] == (...,):
        item: Any = _limited(arguments[0], given, taken)
        return tuple[item, ...]
    return _limited_leaf(hint, given, taken)


def _limited_leaf(hint: Any, given: list[Any], taken: set[int]) -> Any:
    """None where the type takes none of the values."""
    from pydantic import TypeAdapter, ValidationError

    adapter, values = TypeAdapter(hint), []
    for position, value in enumerate(given):
        try:
            values.append(adapter.validate_python(value))
        except ValidationError:
            continue
        taken.add(position)
    as_json = [adapter.dump_python(value, mode="json") for value in values]
    return typing.Annotated[hint, _Allowed(values, as_json)] if values else None
