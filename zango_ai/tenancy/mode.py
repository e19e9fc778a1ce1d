"""What a project's database set-up decides: which schemas there are, and how one of them becomes active."""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import AbstractContextManager
from typing import Any, ClassVar

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Model


class Mode(ABC):
    """A project with django-tenants, or one with a single schema."""

    has_tenants: ClassVar[bool]
    migrate_command: ClassVar[str]

    @property
    def only_schema(self) -> str | None:
        """The schema of a project that has no other."""
        return None

    @abstractmethod
    def alias(self) -> str:
        """The alias in ``DATABASES`` that has the tables of zango_ai."""

    @abstractmethod
    def schema_of(self, connection: BaseDatabaseWrapper) -> str:
        """The schema that is active on the connection."""

    @abstractmethod
    def public_schema(self) -> str:
        """The schema that has the table of the tenants, if there are any."""

    def is_public(self, schema: str) -> bool:
        """Whether no tenant is active while this schema is."""
        return self.has_tenants and schema == self.public_schema()

    @abstractmethod
    def qualified(self, schema: str, table: str) -> str:
        """The table's name in SQL."""

    @abstractmethod
    def plain_backend(self, connection: BaseDatabaseWrapper) -> type[BaseDatabaseWrapper]:
        """The class of the ledger's connection. It sets no search path of its own."""

    @abstractmethod
    def schemas(self) -> list[str]:
        """The schemas of all tenants, sorted."""

    def schemas_with_app(self) -> list[str]:
        """Those of the tenants that use zango_ai."""
        return self.schemas()

    @abstractmethod
    def can_list_schemas(self) -> bool:
        """Whether ``schemas()`` can be called yet."""

    @abstractmethod
    def find_tenant(self, schema: str) -> Any | None:
        """What ``active_tenant()`` takes, or None if there is no such tenant."""

    @abstractmethod
    def active(self, schema: str) -> AbstractContextManager[None]:
        """Activate the schema for the block."""

    @abstractmethod
    def active_tenant(self, tenant: Any) -> AbstractContextManager[None]:
        """Activate the tenant for the block."""

    @abstractmethod
    def tenant_of(self, connection: BaseDatabaseWrapper) -> Any:
        """The tenant that is active on the connection. It has a ``schema_name``."""

    @abstractmethod
    def tenant_of_task(self) -> Any | None:
        """The tenant that the running asyncio task has activated."""

    def tenant_model(self) -> type[Model] | None:
        """The model of the tenants."""
        return None

    def copy_state(self, source: BaseDatabaseWrapper, target: BaseDatabaseWrapper) -> None:  # noqa: B027
        """Activate on one connection what is active on the other."""

    def forget_search_path(self, connection: BaseDatabaseWrapper) -> None:  # noqa: B027
        """Set the search path again before the next statement of the connection."""
