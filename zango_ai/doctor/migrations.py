"""Whether the tenant's tables are those of this release."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

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
    recorded = MigrationRecorder(connection).applied_migrations()
    applied = {name for app, name in recorded if app == _APP}
    missing = sorted(_migrations() - applied)
    if AgentConfig._meta.db_table not in connection.introspection.table_names():
        yield error("migrations.no_tables", "", "The tables of zango_ai do not exist in this schema.", remedy)
    elif missing:
        names = ", ".join(missing)
        yield error("migrations.unapplied", "", f"These migrations of zango_ai are not applied: {names}.", remedy)
    newer = sorted(applied - _migrations())
    if newer:
        yield warning(
            "migrations.unknown",
            "",
            f"The schema has migrations that this release of zango_ai does not: {', '.join(newer)}.",
            "Upgrade zango_ai in this environment to the release that the other processes use.",
        )


@lru_cache(1)
def _migrations() -> set[str]:
    """The names of the app's migrations."""
    return {name for app, name in MigrationLoader(None, ignore_no_migrations=True).graph.nodes if app == _APP}
