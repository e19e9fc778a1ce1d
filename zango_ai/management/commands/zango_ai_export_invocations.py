from __future__ import annotations

from datetime import date
from typing import Any

from django.core.management.base import CommandError, CommandParser
from django.db.models import Q

from ...ledger import run_export, run_filters
from ...models import Invocation
from ..per_tenant import TenantCommand

_EXACT = {
    "agent": "agent_name",
    "provider": "provider_name",
    "model": "model",
    "status": "status",
    "trigger": "triggered_by",
}
"""The column that each option selects by."""


class Command(TenantCommand):
    help = (
        "Write invocations to standard output, newest first, as CSV or JSON Lines. The first column is the schema "
        "of the tenant. Cells that a spreadsheet would take for a formula begin with an apostrophe."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument(
            "--format", required=True, choices=sorted(run_export.FORMATS), help="format of the output"
        )
        parser.add_argument("--agent", help="only runs of this agent")
        parser.add_argument("--provider", help="only runs on this provider")
        parser.add_argument("--model", help="only runs of this model")
        parser.add_argument("--status", choices=Invocation.Status.values, help="only runs with this status")
        parser.add_argument("--trigger", choices=Invocation.Trigger.values, help="only runs with this trigger")
        parser.add_argument("--session", help="only runs of this session ID")
        parser.add_argument("--user", help="only runs of this user_ref")
        parser.add_argument("--since", metavar="YYYY-MM-DD", help="first day, in the tenant's time zone")
        parser.add_argument("--until", metavar="YYYY-MM-DD", help="last day, in the tenant's time zone")
        parser.add_argument("--no-texts", action="store_true", help="leave out prompts, variables, answers, errors")

    def handle(self, *args: Any, **options: Any) -> None:
        self._days = _day(options, "since"), _day(options, "until")
        if not run_filters.is_in_order(*self._days):
            raise CommandError("--since is after --until. Exchange them.")
        if options["format"] == "csv":
            names = run_export.columns(not options["no_texts"])
            self.stdout.write(run_export.csv_header(("tenant", *names)), ending="")
        super().handle(*args, **options)

    def handle_tenant(self, schema: str, **options: Any) -> bool:
        runs = Invocation.objects.filter(self._condition(options))
        for rows in run_export.read(runs, has_texts=not options["no_texts"], tenant=schema):
            self.stdout.write(run_export.FORMATS[options["format"]](rows), ending="")
        return True

    def _condition(self, options: dict[str, Any]) -> Q:
        condition = run_filters.created_between(*self._days)
        for name, column in _EXACT.items():
            if options[name] is not None:
                condition &= Q(**{column: options[name]})
        for name, column in (("session", "session_id"), ("user", "user_ref")):
            if options[name] is not None:
                condition &= run_filters.is_text(column, options[name])
        return condition


def _day(options: dict[str, Any], name: str) -> date | None:
    try:
        return None if options[name] is None else run_filters.day_of(options[name])
    except ValueError:
        raise CommandError(f"--{name} is {options[name]!r}. Use YYYY-MM-DD, for example 2026-11-30.") from None
