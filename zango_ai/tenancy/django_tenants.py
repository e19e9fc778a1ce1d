"""A schema for each tenant, with django-tenants. The only module that imports it."""

from __future__ import annotations

import asyncio
from contextlib import AbstractContextManager
from contextvars import ContextVar
from importlib import import_module
from typing import Any, cast

from django.conf import settings
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Model
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

from .mode import Mode

_Loop = asyncio.AbstractEventLoop | None
_tenant_of_task: ContextVar[tuple[Any, _Loop] | None] = ContextVar("zango_ai_tenant_of_task", default=None)
"""A tenant, and the event loop in which it was activated."""
_STATE = ("tenant", "schema_name", "include_public_schema")


class DjangoTenants(Mode):
    has_tenants = True
    migrate_command = "migrate_schemas"

    def alias(self) -> str:
        return str(get_tenant_database_alias())

    def schema_of(self, connection: BaseDatabaseWrapper) -> str:
        return str(cast(Any, connection).schema_name)

    def public_schema(self) -> str:
        return str(get_public_schema_name())

    def qualified(self, schema: str, table: str) -> str:
        # Django's quote_name() does not escape quotation marks.
        return '"{}"."{}"'.format(schema.replace('"', '""'), table)

    def plain_backend(self, connection: BaseDatabaseWrapper) -> type[BaseDatabaseWrapper]:
        """The backend that django-tenants wraps."""
        name = getattr(settings, "ORIGINAL_BACKEND", "django.db.backends.postgresql")
        return cast(type[BaseDatabaseWrapper], import_module(f"{name}.base").DatabaseWrapper)

    def schemas(self) -> list[str]:
        return _schema_names()

    def schemas_with_app(self) -> list[str]:
        """With multi-type tenants, only of types that have zango_ai among their apps."""
        if not has_multi_type_tenants():
            return _schema_names()
        types = [name for name, kind in get_tenant_types().items() if "zango_ai" in kind.get("APPS", ())]
        return _schema_names(**{f"{get_multi_type_database_field_name()}__in": types})

    def can_list_schemas(self) -> bool:
        # While a tenant is being migrated, its schema is active: the other tenants are not of interest then.
        connection = connections[self.alias()]
        is_public = self.is_public(self.schema_of(connection))
        return is_public and get_tenant_model()._meta.db_table in connection.introspection.table_names()

    def find_tenant(self, schema: str) -> Any | None:
        with schema_context(get_public_schema_name()):
            return get_tenant_model().objects.filter(schema_name=schema).first()

    def active(self, schema: str) -> AbstractContextManager[None]:
        return cast(AbstractContextManager[None], schema_context(schema))

    def active_tenant(self, tenant: Any) -> AbstractContextManager[None]:
        return cast(AbstractContextManager[None], tenant_context(tenant))

    def tenant_of(self, connection: BaseDatabaseWrapper) -> Any:
        return cast(Any, connection).tenant

    def tenant_of_task(self) -> Any | None:
        """Django gives async code connections of its own. Tasks share one if their parent task has used it, and so
        does what is activated on it. So what a task activates is noted in its context, from the first call on.

        What was activated in an earlier event loop does not count. A loop that runs in the same context has its
        connection, and may serve another tenant.
        """
        loop = _running_loop()
        found: Any = getattr(connections._connections, self.alias(), None)  # type: ignore[attr-defined]
        if found is None:
            return None
        if "set_tenant" not in vars(found):
            set_tenant = found.set_tenant

            def set_and_note(tenant: Any, *args: Any, **kwargs: Any) -> None:
                set_tenant(tenant, *args, **kwargs)
                found.zango_ai_loop = _running_loop()
                _tenant_of_task.set((tenant, found.zango_ai_loop))

            found.set_tenant = set_and_note
            found.zango_ai_loop = loop
            _tenant_of_task.set((found.tenant, loop))
        noted = _tenant_of_task.get()
        tenant, of_loop = noted if noted and noted[1] is loop else (found.tenant, found.zango_ai_loop)
        return None if of_loop is not loop or self.is_public(tenant.schema_name) else tenant

    def tenant_model(self) -> type[Model] | None:
        return cast(type[Model], get_tenant_model())

    def copy_state(self, source: BaseDatabaseWrapper, target: BaseDatabaseWrapper) -> None:
        for name in _STATE:
            setattr(target, name, getattr(source, name))
        target.settings_dict["SCHEMA"] = cast(Any, target).schema_name

    def forget_search_path(self, connection: BaseDatabaseWrapper) -> None:
        cast(Any, connection).search_path_set_schemas = None


def _running_loop() -> _Loop:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


def _schema_names(**conditions: Any) -> list[str]:
    rows = get_tenant_model().objects.exclude(schema_name=get_public_schema_name()).filter(**conditions)
    return list(rows.order_by("schema_name").values_list("schema_name", flat=True))
