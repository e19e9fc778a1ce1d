"""Check subclasses of ``BaseTask`` when their module is imported."""

from __future__ import annotations

import inspect
from typing import Any

_defined: dict[str, type[Any]] = {}


def require(cls: type[Any], placeholder: Any) -> None:
    """Raise TypeError unless ``cls`` can be a task. ``placeholder`` is the inherited ``run`` of Celery's class."""
    _require_name(cls)
    run = inspect.getattr_static(cls, "run", placeholder)
    if run is placeholder or not inspect.isfunction(run):
        raise TypeError(
            f"{cls.__qualname__} has no method run(self, ...). Define it, or set abstract = True on a "
            "class that is only a base class of tasks."
        )
    if inspect.iscoroutinefunction(run):
        raise TypeError(
            f"{cls.__qualname__}.run() is async, which Celery does not support. Write a plain method, and call "
            "async code through asgiref.sync.async_to_sync()."
        )
    _defined[cls.name] = cls


def is_defined(name: str) -> bool:
    """Whether a task of that name is a ``BaseTask``."""
    return name in _defined


def _require_name(cls: type[Any]) -> None:
    name = getattr(cls, "name", None)
    if not isinstance(name, str) or not name:
        raise TypeError(
            f"{cls.__qualname__} has no name. Set name = '...' on it: queues and beat schedules refer to tasks "
            "by name. Set abstract = True on a class that is only a base class of tasks."
        )
    other = _defined.get(name)
    # Reloading a module defines its classes again.
    if other is not None and _qualified_name(other) != _qualified_name(cls):
        raise TypeError(
            f"{_qualified_name(cls)} and {_qualified_name(other)} both have the name {name!r}. Give each a "
            "different name."
        )


def _qualified_name(cls: type[Any]) -> str:
    return f"{cls.__module__}.{cls.__qualname__}"
