"""Check the types of arguments, and suggest the name that a caller probably meant."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any, TypeVar

T = TypeVar("T")

_MAX_COMPARED_CHARS = 100
"""``get_close_matches`` takes quadratic time."""


def type_of(value: object) -> str:
    """The type of ``value`` for a message: ``"of type int"``, or ``"None"``."""
    return "None" if value is None else f"of type {type(value).__name__}"


def require(value: object, types: type[Any] | tuple[type[Any], ...], argument: str, expected: str) -> None:
    """Raise TypeError unless ``value`` is an instance of ``types``. The message asks for ``expected``."""
    if not isinstance(value, types):
        raise TypeError(f"{argument} is {type_of(value)}; pass {expected}.")


def require_name(value: object, function: str) -> None:
    """Raise TypeError unless ``value`` is a str, as the name of a row must be."""
    require(value, str, f"The name given to {function}()", "it as a str")


def require_iterable(value: object, item_type: type[Any], argument: str) -> None:
    """Raise TypeError unless ``value`` is an iterable other than a str."""
    expected = f"a list of {item_type.__name__}"
    if isinstance(value, str):
        raise TypeError(f"{argument} is of type str; pass {expected}.")
    require(value, Iterable, argument, expected)


def as_tuple(values: Iterable[T], item_type: type[T], argument: str) -> tuple[T, ...]:
    """``values`` as a tuple. Raises TypeError unless each is an ``item_type``."""
    require_iterable(values, item_type, argument)
    items = tuple(values)
    for item in items:
        if not isinstance(item, item_type):
            raise TypeError(f"An item of {argument} is {type_of(item)}; pass a list of {item_type.__name__}.")
    return items


def require_known(keywords: Iterable[str], known_names: Iterable[str], function: str) -> None:
    """Raise TypeError for a keyword that is not one of the known names."""
    known = list(known_names)
    for name in keywords:
        if name not in known:
            raise TypeError(f"{function}() got an unexpected keyword argument {name!r}.{did_you_mean(name, known)}")


def did_you_mean(name: str, known_names: Iterable[str]) -> str:
    """``" Did you mean 'summary'?"`` with the known name closest to ``name``; ``""`` if none is close."""
    by_folded = {known[:_MAX_COMPARED_CHARS].casefold(): known for known in known_names}
    matches = get_close_matches(name[:_MAX_COMPARED_CHARS].casefold(), by_folded, n=1)
    return f" Did you mean {by_folded[matches[0]]!r}?" if matches else ""
