"""What a subclass of ``BaseTask`` must have, looked at when its module is imported."""

from __future__ import annotations

import inspect
from typing import Any

_defined: dict[str, type[Any]] = {}


def require(cls: type[Any], placeholder: Any) -> None:
    """TypeError where ``cls`` is no task. ``placeholder`` is the ``run`` of a class that has none."""
    _require_name(cls)
    run = inspect.getattr_static(cls, "run", placeholder)
    if run is placeholder or not inspect.isfunction(run):
        raise TypeError(
            f"{cls.__qualname__} has no method run(self, ...). Write what the task does there, or set "
            "abstract = True on a class that is only a base of tasks."
        )
    if inspect.iscoroutinefunction(run):
        raise TypeError(
            f"{cls.__qualname__}.run() is async, and Celery awaits nothing. Write a plain method, and call what is "
            "async through asgiref.sync.async_to_sync()."
        )
    _defined[cls.name] = cls


def is_one(name: str) -> bool:
    """Whether a task of that name is a ``BaseTask``."""
    return name in _defined


def _require_name(cls: type[Any]) -> None:
    name = getattr(cls, "name", None)
    if not isinstance(name, str) or not name:
        raise TypeError(
            f"{cls.__qualname__} has no name. Set name = '...' on it: queues and beat schedules know a task by its "
            "name. Set abstract = True on a class that is only a base of tasks."
        )
    other = _defined.get(name)
    # A module that is loaded again defines its classes again.
    if other is not None and _place(other) != _place(cls):
        raise TypeError(
            f"{_place(cls)} and {_place(other)} both have the name {name!r}. Give each a name of its own."
        )


def _place(cls: type[Any]) -> str:
    return f"{cls.__module__}.{cls.__qualname__}"
