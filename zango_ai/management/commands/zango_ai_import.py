from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from django.contrib.auth import get_user_model
from django.core.management.base import BaseCommand, CommandError, CommandParser

from ... import tenancy
from ...configuration_files import history, yaml_text
from ...configuration_files.file_parts import InvalidFile, Part
from ...configuration_files.importing import import_document
from ..per_tenant import chosen_schemas, migrated_tenant


class Command(BaseCommand):
    help = (
        "Import a configuration file that zango_ai_export wrote. Shows the plan for each tenant, then applies it "
        "in one transaction each. If the plan of one tenant has errors, no tenant is changed."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", help="path of the YAML file; - reads it from standard input")
        parser.add_argument(
            "--schema", action="append", help="change only this tenant (repeatable; default: all tenants)"
        )
        parser.add_argument("--dry-run", action="store_true", help="show the plan and change nothing")
        parser.add_argument(
            "--prune",
            action="store_true",
            help="delete agents, prompts, providers and models that the file's sections do not have",
        )
        parser.add_argument(
            "--user", metavar="USERNAME", help="write the changes to the admin's history as this user"
        )

    def handle(self, *args: Any, file: str, schema: str | Sequence[str] | None, **options: Any) -> None:
        documents = self._documents(_load(file), schema)
        problems = [line for name, each in documents.items() for line in self._preview(name, *each, **options)]
        if problems:
            raise CommandError("\n".join(["The file has errors. Nothing was changed.", *problems]))
        if options["dry_run"]:
            self.stdout.write("Dry run: nothing was changed.")
            return
        failed = [name for name, each in documents.items() if not self._apply(name, *each, **options)]
        if failed:
            raise CommandError(f"Failed for: {', '.join(failed)}. These tenants were not changed.")

    def _documents(self, document: Any, schema: str | Sequence[str] | None) -> dict[str, tuple[Any, str]]:
        """The document for each tenant, and its path in the file."""
        if not isinstance(document, dict) or "tenants" not in document:
            return dict.fromkeys(chosen_schemas(schema), (document, ""))
        part = Part(document)
        tenants = part.entries(["tenants"]).get("tenants", part)
        parts = tenants.named_entries()
        known = tenancy.tenant_schemas()
        for name in parts:
            if name not in known and schema is None:
                tenants.report("no tenant has this schema.", name)
        chosen = list(parts) if schema is None else chosen_schemas(schema)
        for name in chosen:
            if name not in parts:
                tenants.report(f"has no part for the tenant {name!r}.")
        if part.problems:
            raise CommandError("\n".join(part.problems))
        return {name: (parts[name].value, parts[name].path) for name in chosen}

    def _preview(self, schema: str, document: Any, path: str, **options: Any) -> list[str]:
        """Show the plan. Returns the problems of the document in this tenant."""
        with migrated_tenant(schema):
            self._user(options["user"])
            try:
                plan = import_document(document, prune=options["prune"], preview=True, path=path)
            except InvalidFile as exc:
                return [f"{schema}: {problem}" for problem in exc.problems]
        self.stdout.write("\n".join([schema, *plan.lines()]))
        return []

    def _apply(self, schema: str, document: Any, path: str, **options: Any) -> bool:
        with tenancy.active(schema):
            user = self._user(options["user"])
            try:
                plan = import_document(document, prune=options["prune"], path=path, user=user)
            except Exception as exc:
                self.stderr.write(f"{schema}: {type(exc).__name__}: {exc}")
                return False
        history.write_log(schema, plan)
        self.stdout.write(f"{schema}: {'applied' if plan.changes else 'nothing to change'}")
        return True

    def _user(self, username: str | None) -> Any:
        if username is None:
            return None
        users = get_user_model()
        try:
            return users._default_manager.get_by_natural_key(username)
        except users.DoesNotExist:
            raise CommandError(f"--user: there is no user {username!r} in {tenancy.current_schema()}.") from None


def _load(file: str) -> Any:
    try:
        text = sys.stdin.read() if file == "-" else Path(file).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as exc:
        raise CommandError(f"{file}: cannot be read: {exc}") from exc
    try:
        return yaml_text.load(text)
    except yaml_text.InvalidYAML as exc:
        raise CommandError(f"{file}: is not valid YAML: {exc}") from exc
