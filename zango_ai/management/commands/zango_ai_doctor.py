from __future__ import annotations

import json
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from ... import doctor
from ...doctor import Examined, Level
from .. import doctor_report
from ..per_tenant import chosen_schemas


class Command(BaseCommand):
    help = (
        "Say what is missing or wrong in the project and its tenants, and how to correct it: settings, migrations, "
        "credentials, providers that do not answer, prompts, agents, tools, queue, workers, maintenance. Changes "
        "nothing. The exit code is 1 if there is an error."
    )
    requires_system_checks = []  # a failed system check is part of the report

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--schema", help="check the project and only this tenant (default: all tenants)")
        parser.add_argument("--offline", action="store_true", help="do not call providers, the broker or workers")
        parser.add_argument("--json", action="store_true", help="print the report as JSON")

    def handle(self, *args: Any, schema: str | None, offline: bool, **options: Any) -> None:
        examined: list[Examined] = []
        for each in self._examine(schema, is_offline=offline):
            examined.append(each)
            if not options["json"]:
                self.stdout.write("\n".join([*doctor_report.lines(each, self.style), ""]))
        if options["json"]:
            self.stdout.write(json.dumps(doctor_report.document(examined), indent=2, ensure_ascii=False))
        summary = doctor_report.summary(examined)
        if any(each.level is Level.ERROR for each in examined):
            raise CommandError(summary)
        if not options["json"]:
            self.stdout.write(summary)

    def _examine(self, schema: str | None, *, is_offline: bool) -> Any:
        project = doctor.examine_project(is_offline=is_offline)
        yield project
        stopped = any(result.check.is_required and result.level is Level.ERROR for result in project.results)
        if not stopped:
            for name in chosen_schemas(schema):
                yield doctor.examine_tenant(name, is_offline=is_offline)
