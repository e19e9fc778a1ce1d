"""Check the types of arguments before anything else happens."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeVar

T = TypeVar("T")


def require(value: object, kinds: type[Any] | tuple[type[Any], ...], argument: str, expected: str) -> None:
    """Raise TypeError unless ``value`` is an instance of ``kinds``; the message says what was ``expected``."""
    if not isinstance(value, kinds):
        raise TypeError(f"{argument} is a {type(value).__name__}; pass {expected}.")


def require_name(value: object, function: str) -> None:
    """Raise TypeError unless ``value`` can be the name of a row."""
    require(value, str, f"The name given to {function}()", "it as a str")


def require_iterable(value: object, kind: type[Any], argument: str) -> None:
    """Raise TypeError for what is no iterable, and for text, which is one of its characters."""
    expected = f"a list of {kind.__name__}"
    if isinstance(value, str):
        raise TypeError(f"{argument} is a str; pass {expected}.")
    require(value, Iterable, argument, expected)


def as_tuple(values: Iterable[T], kind: type[T], argument: str) -> tuple[T, ...]:
    """``values``, all of which are of that kind. Raises TypeError."""
    require_iterable(values, kind, argument)
    made = tuple(values)
    for value in made:
        if not isinstance(value, kind):
            raise TypeError(f"{argument} holds a {type(value).__name__}; pass a list of {kind.__name__}.")
    return made
