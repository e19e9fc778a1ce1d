"""Whether the tenant's tables are those of this release."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.recorder import MigrationRecorder

from .. import tenancy
from ..models import AgentConfig
from .findings import Finding, Scope, error, warning

_APP = "zango_ai"


def uses_zango_ai(schema: str) -> bool:
    """Whether the tenant has the tables or should have them. A type of tenants may lack the app."""
    table = AgentConfig._meta.db_table
    return table in tenancy.connection().introspection.table_names() or schema in tenancy.schemas_without(table)


def find_in_migrations(scope: Scope) -> Iterator[Finding]:
    connection = tenancy.connection()
    remedy = f"Run: {tenancy.migrate_command(scope.schema)}"
    missing = unapplied(connection, _APP)
    if AgentConfig._meta.db_table not in connection.introspection.table_names():
        yield error("migrations.no_tables", "", "The tables of zango_ai do not exist in this schema.", remedy)
    elif missing:
        names = ", ".join(missing)
        yield error("migrations.unapplied", "", f"These migrations of zango_ai are not applied: {names}.", remedy)
    newer = sorted(_applied(connection, _APP) - _migrations(_APP))
    if newer:
        yield warning(
            "migrations.unknown",
            "",
            f"The schema has migrations that this release of zango_ai does not: {', '.join(newer)}.",
            "Upgrade zango_ai in this environment to the release that the other processes use.",
        )


def unapplied(connection: BaseDatabaseWrapper, label: str) -> list[str]:
    """The migrations of an installed app that are not applied in the active schema, in order."""
    return sorted(_migrations(label) - _applied(connection, label))


def _applied(connection: BaseDatabaseWrapper, label: str) -> set[str]:
    return {name for app, name in MigrationRecorder(connection).applied_migrations() if app == label}


@lru_cache
def _migrations(label: str) -> set[str]:
    """The names of an app's migrations."""
    return {name for app, name in MigrationLoader(None, ignore_no_migrations=True).graph.nodes if app == label}
