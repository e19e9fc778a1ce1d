"""A project without tenants: the tables of zango_ai are beside its own, and there is nothing to activate."""

from __future__ import annotations

import re
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

from django.apps import apps
from django.db import connections, router
from django.db.backends.base.base import BaseDatabaseWrapper

from .mode import Mode

_SEARCH_PATH = re.compile(r"""\bsearch_path\s*=\s*["']?(\w+)""")


@dataclass(frozen=True, slots=True)
class _Project:
    """Stands for the whole project where code asks for a tenant."""

    schema_name: str


class SingleSchema(Mode):
    """SQL has no name of a schema: PostgreSQL finds the tables by the connection's search path, as for the ORM."""

    has_tenants = False
    migrate_command = "migrate"

    def __init__(self) -> None:
        options = str(connections[self.alias()].settings_dict["OPTIONS"].get("options", ""))
        match = _SEARCH_PATH.search(options)
        self._schema = "public" if match is None else match[1]
        self._project = _Project(self._schema)

    def alias(self) -> str:
        """Where the project's routers write the rows of zango_ai."""
        return str(router.db_for_write(apps.get_model("zango_ai", "Invocation")))

    def schema_of(self, connection: BaseDatabaseWrapper) -> str:
        return self._schema

    def public_schema(self) -> str:
        return self._schema

    def qualified(self, schema: str, table: str) -> str:
        return f'"{table}"'

    def plain_backend(self, connection: BaseDatabaseWrapper) -> type[BaseDatabaseWrapper]:
        return type(connection)

    @property
    def only_schema(self) -> str:
        """Its name, as the settings tell it, for example for ``--schema`` and ``SITE_URL``."""
        return self._schema

    def schemas(self) -> list[str]:
        return [self._schema]

    def can_list_schemas(self) -> bool:
        return True

    def find_tenant(self, schema: str) -> Any | None:
        return self._project if schema == self._schema else None

    def active(self, schema: str) -> AbstractContextManager[None]:
        return nullcontext()

    def active_tenant(self, tenant: Any) -> AbstractContextManager[None]:
        return nullcontext()

    def tenant_of(self, connection: BaseDatabaseWrapper) -> Any:
        return self._project

    def tenant_of_task(self) -> Any | None:
        return None
