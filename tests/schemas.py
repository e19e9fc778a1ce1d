"""The tenants of the tests: north and south. With ``tests.plain_settings``, there is one schema, and it is north.

Import ``schema_context`` and the like from here, and mark tests that need another tenant than north with
``needs_tenants``.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest
from asgiref.sync import SyncToAsync
from django.conf import settings
from django.db import connection
from django.db.models.signals import pre_migrate

IS_PLAIN = not hasattr(settings, "TENANT_MODEL")
SCHEMAS = ("north",) if IS_PLAIN else ("north", "south")
SETTINGS = "tests.plain_settings" if IS_PLAIN else "clinic.settings"
CELERY_APP = "tests.plain_app" if IS_PLAIN else "clinic"
REASON = "needs tenants"
needs_tenants = pytest.mark.skipif(IS_PLAIN, reason=REASON)


def _only_north(schema: str) -> None:
    """A test that was skipped in its middle could leave an open stream behind, for another test to end."""
    assert schema == "north", f"Mark this test with needs_tenants: it uses {schema}"


class Tenants(dict[str, Any]):
    """By their schemas."""

    def __missing__(self, schema: str) -> Any:
        _only_north(schema)


if IS_PLAIN:

    @contextmanager
    def schema_context(schema: str) -> Iterator[None]:
        _only_north(schema)
        yield

    @contextmanager
    def tenant_context(tenant: Any) -> Iterator[None]:
        yield

    def active_schema() -> str:
        return "north"

    def get_tenant_model() -> Any:
        _only_north("no model")

    def add_domains(tenant: Any, *domains: str) -> None:
        """Every host name leads to the only project."""

    def remove_domains(*domains: str) -> None:
        """There are none."""

    def set_schema(schema: str) -> None:
        _only_north(schema)

    def set_schema_to_public() -> None:
        """There is nothing to leave."""

    @contextmanager
    def created() -> Iterator[None]:
        """Create the schemas in a database that is set up in the block."""

        def create(**_: Any) -> None:
            with connection.cursor() as cursor:
                cursor.execute("CREATE SCHEMA IF NOT EXISTS north")

        pre_migrate.connect(create)
        yield
        pre_migrate.disconnect(create)

    def all_tenants() -> Tenants:
        return Tenants(north=SimpleNamespace(schema_name="north", name="North"))

else:
    from django_tenants.utils import get_tenant_model, schema_context, tenant_context  # noqa: F401

    def active_schema() -> str:
        return connection.schema_name

    def add_domains(tenant: Any, *domains: str) -> None:
        """Let these host names lead to the tenant. The first is its primary one."""
        from tenants.models import Domain

        for domain in domains:
            Domain.objects.get_or_create(domain=domain, defaults={"tenant": tenant})

    def remove_domains(*domains: str) -> None:
        from tenants.models import Domain

        with schema_context("public"):
            Domain.objects.filter(domain__in=domains).delete()

    def set_schema(schema: str) -> None:
        connection.set_schema(schema)

    def set_schema_to_public() -> None:
        """In this thread, and in the one in which async code executes what is thread-sensitive."""
        connection.set_schema_to_public()
        SyncToAsync.single_thread_executor.submit(connection.set_schema_to_public).result()

    @contextmanager
    def created() -> Iterator[None]:
        """Create the tenants in a database that is set up in the block."""
        yield
        for schema in SCHEMAS:
            get_tenant_model()(schema_name=schema, name=schema.title()).save(verbosity=0)

    def all_tenants() -> Tenants:
        return Tenants(
            {each.schema_name: each for each in get_tenant_model().objects.filter(schema_name__in=SCHEMAS)}
        )
