"""Which tenant is active. The only module that knows django-tenants."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from importlib import import_module
from typing import Any, cast

from django.conf import settings
from django.core.signals import setting_changed
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.utils import CursorWrapper
from django.db.models import Model
from django.dispatch import receiver
from django_tenants.utils import (
    get_public_schema_name,
    get_tenant_database_alias,
    get_tenant_model,
    schema_context,
    tenant_context,
)
from psycopg import ClientCursor


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
    return str(connection().schema_name)  # type: ignore[attr-defined]  # django-tenants' wrapper has it


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
