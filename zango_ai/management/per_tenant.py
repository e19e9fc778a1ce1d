"""The base class of commands that run in every tenant, or only in the one given by ``--schema``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from .. import tenancy
from ..argument_checks import did_you_mean
from ..exceptions import DatabaseNotSupported, NotMigrated
from ..models import AgentConfig


def chosen_schemas(schemas: str | Sequence[str] | None) -> list[str]:
    """The chosen schemas, or those of all tenants for None. Raises CommandError for an unknown one."""
    known = tenancy.tenant_schemas()
    if schemas is None:
        return known
    chosen = list(dict.fromkeys([schemas] if isinstance(schemas, str) else schemas))
    for schema in chosen:
        _require_known(schema, known)
    return chosen


def chosen_schema(schema: str | None) -> str:
    """The chosen schema, or the only one for None. Raises CommandError for none of several or an unknown one."""
    known = tenancy.tenant_schemas()
    if schema is None and len(known) == 1:
        return known[0]
    if schema is None:
        raise CommandError("Name the tenant with --schema.", returncode=2)
    _require_known(schema, known, returncode=3)
    return schema


def _require_known(schema: str, known: Sequence[str], returncode: int = 1) -> None:
    if schema in known:
        return
    if not tenancy.has_tenants():
        raise CommandError(
            f"This project has no tenants and one schema, {known[0]!r}. Leave out --schema {schema}.",
            returncode=returncode,
        )
    raise CommandError(f"No tenant has the schema {schema!r}.{did_you_mean(schema, known)}", returncode=returncode)


@contextmanager
def migrated_tenant(schema: str) -> Iterator[None]:
    """Activate the tenant. Raises CommandError, with the command to run, if its migrations were not applied."""
    try:
        with tenancy.active(schema), tenancy.needs_tables(schema):
            yield
    except NotMigrated as exc:
        raise CommandError(str(exc)) from exc


class TenantCommand(BaseCommand):
    """Subclasses implement ``handle_tenant()``. If one tenant fails, the others are still processed."""

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--schema", help="process only this tenant (default: all tenants)")

    def handle(self, *args: Any, schema: str | None, **options: Any) -> None:
        failed = []
        chosen = chosen_schemas(schema)
        without_tables = tenancy.schemas_without(AgentConfig._meta.db_table)
        for name in chosen:
            with tenancy.active(name):
                try:
                    if name in without_tables:
                        raise tenancy.not_migrated(name)
                    with tenancy.needs_tables(name):
                        is_ok = self.handle_tenant(name, **options)
                except DatabaseNotSupported as exc:
                    raise CommandError(str(exc)) from exc
                except Exception as exc:
                    self.stderr.write(f"{name}: {type(exc).__name__}: {exc}")
                    is_ok = False
                if not is_ok:
                    failed.append(name)
        if failed:
            raise CommandError(f"Failed for: {', '.join(failed)}.")

    def handle_tenant(self, schema: str, **options: Any) -> bool:
        """Process the tenant whose schema is active. Return True on success."""
        raise NotImplementedError
