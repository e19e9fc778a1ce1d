"""The active tenant and its schema. The only module that imports django-tenants."""

from __future__ import annotations

import asyncio
from collections.abc import Generator, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from functools import lru_cache
from importlib import import_module
from typing import Any, TypeVar, cast

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed
from django.db import ProgrammingError, connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.utils import CursorWrapper
from django.db.models import Model
from django.dispatch import receiver
from django_tenants.utils import (
    get_multi_type_database_field_name,
    get_public_schema_name,
    get_tenant_database_alias,
    get_tenant_model,
    get_tenant_types,
    has_multi_type_tenants,
    schema_context,
    tenant_context,
)
from psycopg import ClientCursor

from .exceptions import NotMigrated

T = TypeVar("T")
_tenant_of_task: ContextVar[Any] = ContextVar("zango_ai_tenant_of_task", default=None)
_UNDEFINED = {"42P01", "42703", "3F000"}
"""PostgreSQL's codes for an undefined table, an undefined column and a schema that does not exist."""

DJANGO_TENANTS_SETUP = (
    "Set up django-tenants first: its database engine and router, SHARED_APPS, TENANT_APPS, TENANT_MODEL, "
    'TENANT_DOMAIN_MODEL and its middleware. See "Installation" at https://django-tenants.readthedocs.io/.'
)


def connection() -> BaseDatabaseWrapper:
    """The caller's own connection to the tenants' database, with its transaction and its active schema."""
    return connections[_alias()]


@lru_cache(1)
def _alias() -> str:
    return str(get_tenant_database_alias())


@receiver(setting_changed)
def _clear_alias(**kwargs: Any) -> None:
    _alias.cache_clear()


def bare_cursor(caller: BaseDatabaseWrapper, sql: str) -> CursorWrapper:
    """A cursor to execute ``sql`` with. Unlike django-tenants' cursors, it saves the extra ``SET search_path``."""
    caller.ensure_connection()
    # PostgreSQL accepts several statements at once only with the parameters inlined, which ClientCursor does.
    cursor: Any = ClientCursor(caller.connection) if ";" in sql else caller.create_cursor()
    return caller.make_debug_cursor(cursor) if caller.queries_logged else caller.make_cursor(cursor)


def current_schema() -> str:
    """The active schema of this thread: the public schema if no tenant is active."""
    try:
        return str(connection().schema_name)  # type: ignore[attr-defined]  # django-tenants' wrapper has it
    except AttributeError:
        raise ImproperlyConfigured(f"{missing_django_tenants()} {DJANGO_TENANTS_SETUP}") from None


def is_used() -> bool:
    """Whether the project's database engine is that of django-tenants."""
    return hasattr(connection(), "schema_name")


def missing_django_tenants() -> str:
    return (
        "zango_ai needs django-tenants, but this project uses the database engine "
        f"{connection().settings_dict['ENGINE']!r}."
    )


@contextmanager
def needs_tables(schema: str) -> Iterator[None]:
    """Raise NotMigrated if a query in the block needs a table or column that does not exist."""
    try:
        yield
    except ProgrammingError as exc:
        if getattr(exc.__cause__, "sqlstate", None) not in _UNDEFINED:
            raise
        raise NotMigrated(
            schema,
            f"Schema {schema!r} lacks tables or columns of zango_ai, because migrations have not been applied. "
            f"Run: python manage.py migrate_schemas --schema={schema}",
        ) from exc


def schemas_without(table: str) -> list[str]:
    """The schemas of tenants that use zango_ai but lack ``table``, sorted."""
    with connection().cursor() as cursor:
        cursor.execute("SELECT schemaname FROM pg_catalog.pg_tables WHERE tablename = %s", [table])
        schemas = {schema for (schema,) in cursor.fetchall()}
    return [schema for schema in _schemas_with_app() if schema not in schemas]


def _schemas_with_app() -> list[str]:
    """The schemas of all tenants. With multi-type tenants, only of types that have zango_ai among their apps."""
    if not has_multi_type_tenants():
        return tenant_schemas()
    types = [name for name, kind in get_tenant_types().items() if "zango_ai" in kind.get("APPS", ())]
    rows = get_tenant_model().objects.exclude(schema_name=get_public_schema_name())
    rows = rows.filter(**{f"{get_multi_type_database_field_name()}__in": types}).order_by("schema_name")
    return list(rows.values_list("schema_name", flat=True))


def has_tenants_table() -> bool:
    return get_tenant_model()._meta.db_table in connection().introspection.table_names()


def advice_without_tenant() -> str:
    """What to do if no tenant is active: one or two sentences for an error message."""
    if _is_in_event_loop():
        return (
            "This call runs in an event loop, but the request's tenant is active in another thread. Use the async "
            "form, such as aget_agent(), or move the call into a plain function f and use: await "
            "asgiref.sync.sync_to_async(f)()."
        )
    return (
        "Make the call in a tenant's request or inside django_tenants.utils.tenant_context(tenant). A new thread "
        "starts without a tenant."
    )


def _is_in_event_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def public_schema() -> str:
    return str(get_public_schema_name())


def is_public(schema: str) -> bool:
    return schema == public_schema()


def quote(schema: str) -> str:
    """``schema`` as an SQL identifier."""
    # Django's quote_name() does not escape quotation marks.
    return '"{}"'.format(schema.replace('"', '""'))


def plain_backend() -> type[BaseDatabaseWrapper]:
    """The backend that django-tenants wraps. It does not set the search path for each cursor."""
    name = getattr(settings, "ORIGINAL_BACKEND", "django.db.backends.postgresql")
    return cast(type[BaseDatabaseWrapper], import_module(f"{name}.base").DatabaseWrapper)


def tenant_schemas() -> list[str]:
    """The schema names of all tenants, sorted."""
    rows = get_tenant_model().objects.exclude(schema_name=get_public_schema_name())
    return list(rows.order_by("schema_name").values_list("schema_name", flat=True))


def find_tenant(schema: str) -> Model | None:
    """The tenant with that schema, whichever schema is active."""
    with schema_context(get_public_schema_name()):
        return cast(Model | None, get_tenant_model().objects.filter(schema_name=schema).first())


def tenant_model() -> type[Model]:
    """The project's tenant model, which has a ``schema_name``."""
    return cast(type[Model], get_tenant_model())


@contextmanager
def active(schema: str) -> Iterator[None]:
    """Activate ``schema`` for the block, then restore the previous one."""
    with schema_context(schema):
        yield


@contextmanager
def active_tenant(tenant: Model) -> Iterator[None]:
    """Like ``active``, and set ``connection.tenant`` to the tenant."""
    with tenant_context(tenant):
        yield


def keep_active(items: Generator[T, None, None]) -> Generator[T, None, None]:
    """Yield the items. The generator works in the tenant that is active now, its reader in any other or in none."""
    return _iterate(active_tenant_of(connection()), items)


def _iterate(tenant: Any, items: Generator[T, None, None]) -> Generator[T, None, None]:
    try:
        while True:
            with made_active(tenant):
                try:
                    item = next(items)
                except StopIteration:
                    return
            yield item
    finally:
        with made_active(tenant):
            items.close()


def tenant_of_task() -> Any | None:
    """The tenant that the running task has activated. None if it has not activated any.

    Django gives async code connections of its own. Tasks share one if their parent task has used it, and so does
    what is activated on it. So what a task activates is noted in its context, from the first call on.
    """
    found: Any = getattr(connections._connections, _alias(), None)  # type: ignore[attr-defined]
    if found is None:
        return None
    if "set_tenant" not in vars(found):
        set_tenant = found.set_tenant

        def set_and_note(tenant: Any, *args: Any, **kwargs: Any) -> None:
            set_tenant(tenant, *args, **kwargs)
            _tenant_of_task.set(tenant)

        found.set_tenant = set_and_note
        _tenant_of_task.set(found.tenant)
    tenant = _tenant_of_task.get() or found.tenant
    return None if is_public(tenant.schema_name) else tenant


def connection_around_event_loop() -> BaseDatabaseWrapper | None:
    """The connection of the synchronous code that runs the event loop in this thread, if it has one."""
    storage = getattr(connections._connections, "_storage", None)  # type: ignore[attr-defined]
    return getattr(storage, _alias(), None)


def active_tenant_of(connection: BaseDatabaseWrapper) -> Any:
    """The tenant that is active on the connection; a stand-in with a ``schema_name`` if none is."""
    return connection.tenant  # type: ignore[attr-defined]  # django-tenants' wrapper has it


def made_active(tenant: Any) -> AbstractContextManager[None]:
    """Activate the tenant for the block, unless its schema is active."""
    is_active = current_schema() == tenant.schema_name
    return nullcontext() if is_active else active_tenant(tenant)


@contextmanager
def lent(lender: BaseDatabaseWrapper) -> Iterator[None]:
    """Use the connection of another thread, which must not use it meanwhile."""
    own = getattr(connections._connections, lender.alias, None)  # type: ignore[attr-defined]
    lender.inc_thread_sharing()
    connections[lender.alias] = lender
    try:
        yield
    finally:
        del connections[lender.alias]
        if own is not None:
            connections[lender.alias] = own
        lender.dec_thread_sharing()
