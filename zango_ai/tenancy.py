"""Which tenant is active. The only module that knows django-tenants."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from importlib import import_module
from typing import Any, cast

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

_UNDEFINED = {"42P01", "42703", "3F000"}
"""PostgreSQL's codes for an undefined table, an undefined column and a schema that does not exist."""

HOW_TO_USE_DJANGO_TENANTS = (
    'Set it up first, as the page "Installation" of https://django-tenants.readthedocs.io/ describes: its database '
    "engine and router, SHARED_APPS, TENANT_APPS, TENANT_MODEL, TENANT_DOMAIN_MODEL and its middleware."
)


def connection() -> BaseDatabaseWrapper:
    """The caller's own connection to the tenants' database: its transaction, its schema."""
    return connections[_alias()]


@lru_cache(1)
def _alias() -> str:
    return str(get_tenant_database_alias())


@receiver(setting_changed)
def _forget(**kwargs: Any) -> None:
    _alias.cache_clear()


def bare_cursor(caller: BaseDatabaseWrapper, sql: str) -> CursorWrapper:
    """One to execute ``sql`` with, for which no search path is set: each time that is a statement of its own."""
    caller.ensure_connection()
    # Two statements, which are one transaction, are more than PostgreSQL takes with parameters apart.
    cursor: Any = ClientCursor(caller.connection) if ";" in sql else caller.create_cursor()
    return caller.make_debug_cursor(cursor) if caller.queries_logged else caller.make_cursor(cursor)


def current_schema() -> str:
    """Name of the schema in force in this thread; the public schema's where no tenant is active."""
    try:
        return str(connection().schema_name)  # type: ignore[attr-defined]  # django-tenants' wrapper has it
    except AttributeError:
        raise ImproperlyConfigured(f"{needs_django_tenants()} {HOW_TO_USE_DJANGO_TENANTS}") from None


def is_used() -> bool:
    """Whether the project's database connection is django-tenants'."""
    return hasattr(connection(), "schema_name")


def needs_django_tenants() -> str:
    return (
        "zango_ai needs django-tenants, and this project does not use it: the database engine is "
        f"{connection().settings_dict['ENGINE']!r}."
    )


@contextmanager
def needs_tables(schema: str) -> Iterator[None]:
    """Raises NotMigrated where a query in the block misses a table or a column."""
    try:
        yield
    except ProgrammingError as exc:
        if getattr(exc.__cause__, "sqlstate", None) not in _UNDEFINED:
            raise
        raise NotMigrated(
            schema,
            f"Schema {schema!r} lacks tables or columns of zango_ai: its migrations have not been applied. Run: "
            f"python manage.py migrate_schemas --schema={schema}",
        ) from exc


def schemas_without(table: str) -> list[str]:
    """Tenants that should have that table of zango_ai in their schema and do not, in order."""
    with connection().cursor() as cursor:
        cursor.execute("SELECT schemaname FROM pg_catalog.pg_tables WHERE tablename = %s", [table])
        having = {schema for (schema,) in cursor.fetchall()}
    return [schema for schema in _schemas_with_app() if schema not in having]


def _schemas_with_app() -> list[str]:
    """Schemas of all tenants whose type has zango_ai among its apps; without types, of all tenants."""
    if not has_multi_type_tenants():
        return tenant_schemas()
    types = [name for name, kind in get_tenant_types().items() if "zango_ai" in kind.get("APPS", ())]
    rows = get_tenant_model().objects.exclude(schema_name=get_public_schema_name())
    rows = rows.filter(**{f"{get_multi_type_database_field_name()}__in": types}).order_by("schema_name")
    return list(rows.values_list("schema_name", flat=True))


def has_tenants_table() -> bool:
    return get_tenant_model()._meta.db_table in connection().introspection.table_names()


def advice_without_tenant() -> str:
    """What a caller can do where no tenant is active: one or two sentences for an error."""
    if _is_in_event_loop():
        return (
            "The call is made in an event loop, and the tenant of a request is active in another thread. Move the "
            "call into a plain function f and use: await asgiref.sync.sync_to_async(f)()."
        )
    return (
        "Make the call in a request of a tenant, or inside django_tenants.utils.tenant_context(tenant). A thread "
        "that you start yourself begins without a tenant."
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
    # Django's quote_name() leaves a quotation mark inside as it is.
    return '"{}"'.format(schema.replace('"', '""'))


def plain_backend() -> type[BaseDatabaseWrapper]:
    """The database backend that django-tenants builds on: it sets no search path at each cursor."""
    name = getattr(settings, "ORIGINAL_BACKEND", "django.db.backends.postgresql")
    return cast(type[BaseDatabaseWrapper], import_module(f"{name}.base").DatabaseWrapper)


def tenant_schemas() -> list[str]:
    """Names of all tenants' schemas, in order."""
    rows = get_tenant_model().objects.exclude(schema_name=get_public_schema_name())
    return list(rows.order_by("schema_name").values_list("schema_name", flat=True))


def find_tenant(schema: str) -> Model | None:
    """The tenant of that schema, whatever schema is in force."""
    with schema_context(get_public_schema_name()):
        return cast(Model | None, get_tenant_model().objects.filter(schema_name=schema).first())


def tenant_model() -> type[Model]:
    """The project's model of a tenant, which has a ``schema_name``."""
    return cast(type[Model], get_tenant_model())


@contextmanager
def active(schema: str) -> Iterator[None]:
    """Make ``schema`` the one in force, and put back the one that was."""
    with schema_context(schema):
        yield


@contextmanager
def active_tenant(tenant: Model) -> Iterator[None]:
    """As ``active``, with the tenant's own row as ``connection.tenant``."""
    with tenant_context(tenant):
        yield
