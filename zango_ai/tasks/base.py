"""Tasks that run in the schema of the tenant that queued them.

A header of the message names the schema. The task itself activates it around ``run()``. tenant-schemas-celery does
so in signal handlers, whose errors Celery only logs: a task of a deleted tenant would run in the schema that its
thread happens to be in. For these tasks, the handlers of tenant-schemas-celery do nothing.
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
from ..runs import celery_queue
from ..runs.celery_queue import SCHEMA_HEADER
from . import definitions

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from celery.canvas import Signature
    from celery.result import AsyncResult, EagerResult

P = ParamSpec("P")
_ALTERNATIVES = (
    f"In a beat schedule, name a tenant in the entry's options: {{'headers': {{{SCHEMA_HEADER!r}: '...'}}}}. Or "
    "set every_tenant = True on the task's class to run it in every tenant."
)


class _Runs(Protocol[P]):
    """A task whose ``run()`` takes ``P``."""

    def run(self, *args: P.args, **kwargs: P.kwargs) -> Any: ...


class _AlsoOnTheClass:
    """A method of tasks that can also be called on the class. The current Celery app's task then handles it."""

    def __init__(self, method: Callable[..., Any]) -> None:
        self._method = method
        self.__doc__ = method.__doc__

    def __get__(self, task: BaseTask | None, owner: type[BaseTask]) -> MethodType:
        return MethodType(self._method, owner._registered() if task is None else task)


class BaseTask(DjangoTask):  # type: ignore[misc]
    """The base class of an application's tasks. Subclasses set ``name`` and define ``run(self, ...)``.

    Call ``delay()``, ``apply_async()`` and the other queueing methods on the class. The task runs in the schema
    that was active at that time. If no tenant is active, they raise TenantNotActive. A task fails with
    TenantNotActive, and is not retried, if its tenant was deleted or if it was sent by name while no tenant was
    active. If you call the task or ``run()`` directly, it is plain Python in the current schema.

    Type checkers compare the arguments of ``delay()`` and ``delay_on_commit()`` with ``run()``. ``apply_async()``
    takes a list and a dict, which are checked when it is called.

    Set ``abstract = True`` on a class that is only a base class of tasks.
    """

    abstract = True

    every_tenant = False
    """Whether to queue the task once for every tenant if it is queued while no tenant is active, as by beat."""

    _proxy: Any = None

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        # Celery creates a subclass for each app.
        if "_decorated" in vars(cls) or vars(cls).get("abstract"):
            return
        definitions.require(cls, DjangoTask.run)
        cls.dont_autoretry_for = (*getattr(cls, "dont_autoretry_for", ()), TenantNotActive)
        # Registers with all apps, including later ones.
        cls._proxy = shared_task(name=cls.name, base=cls, bind=True)(_in_tenant(cls))

    @classmethod
    def _registered(cls) -> BaseTask:
        if cls._proxy is None or vars(cls).get("abstract"):
            raise TypeError(f"{cls.__qualname__} is abstract. Queue a subclass of it.")
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
            """Queue the task. Raises TenantNotActive if no tenant is active."""
            _require_tenant(self, options.get("headers"))
            celery_queue.require_app()
            return DjangoTask.apply_async(self, args, kwargs, **options)

        @_AlsoOnTheClass
        def apply_async_on_commit(self, args=None, kwargs=None, **options):
            """Queue the task when the transaction commits, in the schema that is active now."""
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
            """Run the task now, as a worker would. No message is published, so the header is set here."""
            options["headers"] = {SCHEMA_HEADER: tenancy.current_schema(), **(options.get("headers") or {})}
            return DjangoTask.apply(self, args, kwargs, **options)

    @classmethod
    def get_tenant_databases(cls) -> tuple[str, ...]:
        """The databases on which tenant-schemas-celery switches the schema: none."""
        return ()


def _in_tenant(cls: type[BaseTask]) -> Callable[..., Any]:
    """The ``run()`` of a task class, executed in the schema that the message names."""
    run: Callable[..., Any] = cls.run

    @wraps(run)
    def run_in_tenant(task: BaseTask, *args: Any, **kwargs: Any) -> Any:
        if not task.request.called_directly:
            schema = _schema_of(task.request)
            if task.every_tenant and (schema is None or tenancy.is_public(schema)):
                return _queue_for_each_tenant(task, args, kwargs)
            _activate_tenant(task, schema)
        return run(task, *args, **kwargs)

    # Celery checks the arguments of delay() against the signature, and shows the name in errors.
    run_in_tenant.__signature__ = signature(run)  # type: ignore[attr-defined]
    run_in_tenant.__name__ = cls.__name__
    return run_in_tenant


def _schema_of(request: Any) -> str | None:
    """The schema that the message names, or the only one. Some transports put headers into the request itself."""
    headers = request.headers or {}
    schema: str | None = headers.get(SCHEMA_HEADER) or request.get(SCHEMA_HEADER)
    return schema or tenancy.only_schema()


def _require_tenant(task: BaseTask, headers: Mapping[str, Any] | None) -> None:
    """Raise TenantNotActive unless the task can run in a tenant."""
    schema = (headers or {}).get(SCHEMA_HEADER) or tenancy.current_schema()
    if tenancy.is_public(schema) and not task.every_tenant:
        advice = tenancy.advice_without_tenant()
        raise TenantNotActive(
            f"Task {task.name!r} cannot be queued, because no tenant is active. {advice} {_ALTERNATIVES}",
            schema=schema,
        )


def _activate_tenant(task: BaseTask, schema: str | None) -> None:
    """Activate the tenant until the task ends, so that its callbacks and handlers also run there."""
    if schema is None or tenancy.is_public(schema):
        raise TenantNotActive(
            f"Task {task.name!r} was queued while no tenant was active; it did not run. Queue it in a tenant's "
            f"schema. {_ALTERNATIVES}",
            schema=schema,
        )
    tenant = tenancy.find_tenant(schema)
    if tenant is None and not tenancy.has_tenants():
        raise TenantNotActive(
            f"Task {task.name!r} was queued in schema {schema!r}, and this project has only the schema "
            f"{tenancy.only_schema()!r}; it did not run. Let projects that share a broker use queues of their own.",
            schema=schema,
        )
    if tenant is None:
        raise TenantNotActive(
            f"Task {task.name!r} was queued in schema {schema!r}, whose tenant no longer exists; it did not "
            "run. If the tenant was renamed, queue the task again.",
            schema=schema,
        )
    # Set on the request, because threads share the task.
    task.request.zango_ai_tenant = context = ExitStack()
    context.enter_context(tenancy.active_tenant(tenant))


def _queue_for_each_tenant(task: BaseTask, args: Any, kwargs: Any) -> int:
    """Returns the number of tenants."""
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
    """The queue, priority and limits with which a task was queued."""
    delivery = request.delivery_info or {}
    hard, soft = request.timelimit or (None, None)
    options = {"expires": request.expires, "time_limit": hard, "soft_time_limit": soft}
    options |= {key: delivery.get(key) for key in ("priority", "exchange", "routing_key")}
    if not options["exchange"]:
        options["queue"] = options.pop("routing_key")
    return {name: value for name, value in options.items() if value not in (None, "")}


@before_task_publish.connect  # type: ignore[untyped-decorator]
def _add_schema_header(sender: str, headers: dict[str, Any], **_: Any) -> None:
    """Add the header to every message: sent by class, by name or in a chain. Without it, the task fails."""
    if definitions.is_defined(sender):
        headers.setdefault(SCHEMA_HEADER, tenancy.current_schema())


@task_postrun.connect  # type: ignore[untyped-decorator]
def _deactivate_tenant(task: Any, **_: Any) -> None:
    context = task.request.__dict__.pop("zango_ai_tenant", None)
    if context is not None:
        context.close()
