"""The base class, and errors that any object of a tenant may raise."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

_PACKAGE = __name__.rpartition(".")[0]


class ZangoAIError(Exception):
    """The base class of all exceptions here."""

    __module__ = _PACKAGE

    invocation_id: int | None = None
    """Primary key of the ``Invocation`` row that recorded the failure. None if no run had begun."""

    may_be_billed: bool = False
    """Whether the provider may bill the request although it did not answer. The round's cost is then unknown."""

    request_params: Mapping[str, Any] = {}
    """The parameters that were sent to the provider, without messages and tools."""

    def __init_subclass__(cls, **options: Any) -> None:
        """Have tracebacks show the package, from which callers import the class."""
        super().__init_subclass__(**options)
        if cls.__module__.startswith(f"{_PACKAGE}."):
            cls.__module__ = _PACKAGE

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the message and the attributes, because subclasses need more arguments than the message."""
        return _unpickle, (type(self), self.args, dict(vars(self)))


def _unpickle(error_type: type[ZangoAIError], args: tuple[Any, ...], attributes: dict[str, Any]) -> ZangoAIError:
    error = error_type.__new__(error_type, *args)
    error.args = args
    vars(error).update(attributes)
    return error


class NamedObjectError(ZangoAIError):
    """An error about an object of the tenant. ``name`` is the object's name."""

    def __init__(self, name: str, message: str) -> None:
        super().__init__(message)
        self.name = name


class NotFoundError(NamedObjectError):
    """The tenant has no such object."""


class DisabledError(NamedObjectError):
    """The object exists but is disabled."""


class DefinitionInvalid(NamedObjectError, ValueError):
    """``define_agent()``, ``define_provider()`` or ``define_prompt()`` got invalid values, and changed nothing.

    ``problems`` has one line for each, which begins with the option's name.
    """

    def __init__(self, name: str, problems: Sequence[str], message: str) -> None:
        super().__init__(name, message)
        self.problems = list(problems)


class WrongTenant(ZangoAIError):
    """An agent, provider or prompt was used in a tenant other than its own. ``schema`` is the active one."""

    def __init__(self, schema: str, message: str) -> None:
        super().__init__(message)
        self.schema = schema


class NotMigrated(ZangoAIError):
    """The schema lacks tables or columns of ``zango_ai``. Run ``migrate_schemas``; without tenants, ``migrate``."""

    def __init__(self, schema: str, message: str) -> None:
        super().__init__(message)
        self.schema = schema


class DatabaseNotSupported(ZangoAIError):
    """The project's database is not PostgreSQL. Agents cannot run, because their runs cannot be logged."""


class TenantNotActive(ZangoAIError):
    """A task was queued while no tenant was active, or its tenant has been deleted. The task did not run.

    ``schema`` is the schema in which the task was queued; None if unknown.
    """

    # Celery rebuilds exceptions from their message alone.
    def __init__(self, message: str, *, schema: str | None = None) -> None:
        super().__init__(message)
        self.schema = schema


_TIME_LIMITS = {"SoftTimeLimitExceeded", "TimeLimitExceeded", "JobTimeoutException", "TaskTimeout"}


def is_time_limit(exc: BaseException) -> bool:
    """Whether a task queue (Celery, RQ or huey) raised ``exc`` to stop the running task."""
    return type(exc).__name__ in _TIME_LIMITS
