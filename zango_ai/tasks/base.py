"""Tasks that run in the schema of the tenant that queued them.

The schema travels in a header of the message, and is made the active one around ``run()``, by the task itself.
tenant-schemas-celery does it in signal handlers, of which Celery only logs the errors: there a task of a tenant
that is gone runs in whatever schema its thread is in. For these tasks its handlers do nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from functools import wraps
from inspect import signature
from types import MethodType
from typing import TYPE_CHECKING, Any, ParamSpec, Protocol

from celery import shared_task
from celery.contrib.django.task import DjangoTask
from celery.signals import before_task_publish, task_postrun
from django.db import transaction

from .. import tenancy
from ..exceptions import TenantNotActive
from ..runs import queue
from ..runs.queue import SCHEMA_HEADER
from . import definitions

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from celery.canvas import Signature
    from celery.result import AsyncResult, EagerResult

P = ParamSpec("P")
_ALTERNATIVES = (
    f"In a beat schedule, name a tenant in the entry's options: {{'headers': {{{SCHEMA_HEADER!r}: '...'}}}}. Or "
    "set every_tenant = True on the task's class to run it in each tenant."
)


class _Runs(Protocol[P]):
    """A task whose ``run()`` takes ``P``."""

    def run(self, *args: P.args, **kwargs: P.kwargs) -> Any: ...


class _AlsoOnTheClass:
    """A method of tasks that can be called on the class: then the task of the current Celery app answers."""

    def __init__(self, method: Callable[..., Any]) -> None:
        self._method = method
        self.__doc__ = method.__doc__

    def __get__(self, task: BaseTask | None, owner: type[BaseTask]) -> MethodType:
        return MethodType(self._method, owner._registered() if task is None else task)


class BaseTask(DjangoTask):  # type: ignore[misc]
    """A task of an application. Subclasses set ``name`` and write ``run(self, ...)``.

    ``delay()``, ``apply_async()`` and what else queues a task are called on the class. The task runs in the schema
    that was active then. Where no tenant is active they raise TenantNotActive; a task whose tenant has been deleted
    since, or that was sent by its name where no tenant was active, fails with it and is not tried again. Called as
    a function, or ``run()`` itself, it is plain Python in the caller's schema.

    Type checkers hold the arguments of ``delay()`` and ``delay_on_commit()`` against ``run()``. They cannot for
    ``apply_async()``, which takes a list and a dict; those are checked when it is called.

    Set ``abstract = True`` on a class that is only a base of tasks.
    """

    abstract = True

    every_tenant = False
    """Whether the task, queued where no tenant is active (as by beat), is to be queued once for each tenant."""

    _proxy: Any = None

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        # Celery makes a subclass of its own for each app.
        if "_decorated" in vars(cls) or vars(cls).get("abstract"):
            return
        definitions.require(cls, DjangoTask.run)
        cls.dont_autoretry_for = (*getattr(cls, "dont_autoretry_for", ()), TenantNotActive)
        # Registers with all apps, those to come as well.
        cls._proxy = shared_task(name=cls.name, base=cls, bind=True)(_in_tenant(cls))

    @classmethod
    def _registered(cls) -> BaseTask:
        if cls._proxy is None or vars(cls).get("abstract"):
            raise TypeError(f"{cls.__qualname__} is abstract: queue a subclass of it.")
        task: BaseTask = cls._proxy._get_current_object()
        return task

    if TYPE_CHECKING:

        @classmethod
        def delay(cls: type[_Runs[P]], *args: P.args, **kwargs: P.kwargs) -> AsyncResult: ...
        @classmethod
        def delay_on_commit(cls: type[_Runs[P]], *args: P.args, **kwargs: P.kwargs) -> None: ...
        @classmethod
        def apply_async(
            cls, args: Sequence[Any] | None = None, kwargs: Mapping[str, Any] | None = None, **options: Any
        ) -> AsyncResult: ...
        @classmethod
        def apply_async_on_commit(
            cls, args: Sequence[Any] | None = None, kwargs: Mapping[str, Any] | None = None, **options: Any
        ) -> None: ...
        @classmethod
        def apply(
            cls, args: Sequence[Any] | None = None, kwargs: Mapping[str, Any] | None = None, **options: Any
        ) -> EagerResult: ...
        @classmethod
        def signature(cls, *args: Any, **options: Any) -> Signature: ...
        @classmethod
        def s(cls, *args: Any, **kwargs: Any) -> Signature: ...
        @classmethod
        def si(cls, *args: Any, **kwargs: Any) -> Signature: ...
    else:
        delay = _AlsoOnTheClass(DjangoTask.delay)
        signature = _AlsoOnTheClass(DjangoTask.signature)
        s = _AlsoOnTheClass(DjangoTask.s)
        si = _AlsoOnTheClass(DjangoTask.si)

        @_AlsoOnTheClass
        def apply_async(self, args=None, kwargs=None, **options):
            """Queue it. Raises TenantNotActive where no tenant is active."""
            _require_tenant(self, options.get("headers"))
            queue.require_app()
            return DjangoTask.apply_async(self, args, kwargs, **options)

        @_AlsoOnTheClass
        def apply_async_on_commit(self, args=None, kwargs=None, **options):
            """Queue it when the transaction commits, in the schema that is active now."""
            _require_tenant(self, options.get("headers"))
            options["headers"] = {SCHEMA_HEADER: tenancy.current_schema(), **(options.get("headers") or {})}
            alias = tenancy.connection().alias
            transaction.on_commit(lambda: self.apply_async(args, kwargs, **options), using=alias)

        @_AlsoOnTheClass
        def delay_on_commit(self, *args, **kwargs):
            """``delay()`` when the transaction commits, in the schema that is active now."""
            self.apply_async_on_commit(args, kwargs)

        @_AlsoOnTheClass
        def apply(self, args=None, kwargs=None, **options):
            """Run the task here and now, as a worker would. Nothing is published that could carry the schema."""
            options["headers"] = {SCHEMA_HEADER: tenancy.current_schema(), **(options.get("headers") or {})}
            return DjangoTask.apply(self, args, kwargs, **options)

    @classmethod
    def get_tenant_databases(cls) -> tuple[str, ...]:
        """Where tenant-schemas-celery is to switch the schema: nowhere."""
        return ()


def _in_tenant(cls: type[BaseTask]) -> Callable[..., Any]:
    """The ``run()`` of a task class, in the schema that the message names."""
    run: Callable[..., Any] = cls.run

    @wraps(run)
    def run_in_tenant(task: BaseTask, *args: Any, **kwargs: Any) -> Any:
        if not task.request.called_directly:
            schema = _schema_of(task.request)
            if task.every_tenant and (schema is None or tenancy.is_public(schema)):
                return _queue_for_each_tenant(task, args, kwargs)
            _enter(task, schema)
        return run(task, *args, **kwargs)

    # Celery reads off it which arguments delay() takes, and names it in errors.
    run_in_tenant.__signature__ = signature(run)  # type: ignore[attr-defined]
    run_in_tenant.__name__ = cls.__name__
    return run_in_tenant


def _schema_of(request: Any) -> str | None:
    """The schema that the message names. Some transports have a message's headers in the request itself."""
    headers = request.headers or {}
    schema: str | None = headers.get(SCHEMA_HEADER) or request.get(SCHEMA_HEADER)
    return schema


def _require_tenant(task: BaseTask, headers: Mapping[str, Any] | None) -> None:
    """Raise TenantNotActive for a task that could not run in any tenant."""
    schema = (headers or {}).get(SCHEMA_HEADER) or tenancy.current_schema()
    if tenancy.is_public(schema) and not task.every_tenant:
        advice = tenancy.advice_without_tenant()
        raise TenantNotActive(
            f"Task {task.name!r} cannot be queued, because no tenant is active. {advice} {_ALTERNATIVES}",
            schema=schema,
        )


def _enter(task: BaseTask, schema: str | None) -> None:
    """Make the tenant the active one until the task is over: its callbacks and handlers are run there as well."""
    if schema is None or tenancy.is_public(schema):
        raise TenantNotActive(
            f"Task {task.name!r} was queued where no tenant was active; nothing was run. Queue it in a tenant's "
            f"schema. {_ALTERNATIVES}",
            schema=schema,
        )
    tenant = tenancy.find_tenant(schema)
    if tenant is None:
        raise TenantNotActive(
            f"Task {task.name!r} was queued in the schema {schema!r}, of which there is no tenant any more; "
            "nothing was run. If the tenant was renamed, queue the task again.",
            schema=schema,
        )
    # On the request and not on the task: threads share the task.
    task.request.zango_ai_stay = stay = ExitStack()
    stay.enter_context(tenancy.active_tenant(tenant))


def _queue_for_each_tenant(task: BaseTask, args: Any, kwargs: Any) -> int:
    """Returns for how many it was queued."""
    schemas = tenancy.tenant_schemas()
    if task.request.is_eager:
        for schema in schemas:
            task.apply(args, kwargs, headers={SCHEMA_HEADER: schema})
        return len(schemas)
    with task.app.producer_or_acquire() as producer:
        for schema in schemas:
            headers = {SCHEMA_HEADER: schema}
            task.apply_async(args, kwargs, producer=producer, headers=headers, **_options_of(task.request))
    return len(schemas)


def _options_of(request: Any) -> dict[str, Any]:
    """Queue, priority and limits that a task was queued with."""
    delivery = request.delivery_info or {}
    hard, soft = request.timelimit or (None, None)
    options = {"expires": request.expires, "time_limit": hard, "soft_time_limit": soft}
    options |= {key: delivery.get(key) for key in ("priority", "exchange", "routing_key")}
    if not options["exchange"]:
        options["queue"] = options.pop("routing_key")
    return {name: value for name, value in options.items() if value not in (None, "")}


@before_task_publish.connect  # type: ignore[untyped-decorator]
def _name_the_schema(sender: str, headers: dict[str, Any], **_: Any) -> None:
    """However it is queued: by its class, by its name, in a chain. Left out by an error, the task fails clearly."""
    if definitions.is_one(sender):
        headers.setdefault(SCHEMA_HEADER, tenancy.current_schema())


@task_postrun.connect  # type: ignore[untyped-decorator]
def _leave(task: Any, **_: Any) -> None:
    stay = task.request.__dict__.pop("zango_ai_stay", None)
    if stay is not None:
        stay.close()
