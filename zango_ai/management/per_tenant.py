"""A command that does its work in each tenant, or in the one that ``--schema`` names."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from .. import tenancy


class TenantCommand(BaseCommand):
    """Subclasses write ``handle_tenant()``. A failure in one tenant is told at the end and stops no other."""

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--schema", help="only this tenant's schema (all tenants)")

    def handle(self, *args: Any, schema: str | None, **options: Any) -> None:
        known = tenancy.tenant_schemas()
        if schema is not None and schema not in known:
            raise CommandError(f"There is no tenant with the schema {schema!r}.")
        failed = []
        for name in known if schema is None else [schema]:
            with tenancy.active(name):
                try:
                    is_well = self.handle_tenant(name, **options)
                except Exception as exc:
                    self.stderr.write(f"{name}: {type(exc).__name__}: {exc}")
                    is_well = False
                if not is_well:
                    failed.append(name)
        if failed:
            raise CommandError(f"Not all is well in: {', '.join(failed)}.")

    def handle_tenant(self, schema: str, **options: Any) -> bool:
        """Do the work in the schema that is active; True where all went well."""
        raise NotImplementedError
