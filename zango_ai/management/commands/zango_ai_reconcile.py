from __future__ import annotations

from typing import Any

from django.core.management.base import CommandParser

from ...ledger import reconciliation, usage_upkeep
from ..per_tenant import TenantCommand

_MAX_LINES = 100


class Command(TenantCommand):
    help = (
        "Check that rounds, invocations, the monthly spend and the usage figures add up. Report every difference, "
        "and fail if there is one. Changes nothing without --rebuild-usage. Safe to run beside agents."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument(
            "--rebuild-usage",
            action="store_true",
            help="first correct the usage figures from the log; figures of deleted runs are kept",
        )

    def handle_tenant(self, schema: str, **options: Any) -> bool:
        if options["rebuild_usage"]:
            self.stdout.write(f"{schema}: {usage_upkeep.correct(schema)} usage figures corrected")
        count = 0
        for count, drift in enumerate(reconciliation.find_drift(schema), start=1):
            if count <= _MAX_LINES:
                self.stderr.write(f"{schema}: {drift}")
        if count > _MAX_LINES:
            self.stderr.write(f"{schema}: and {count - _MAX_LINES} more differences")
        for deleted in reconciliation.find_deleted(schema):
            self.stdout.write(f"{schema}: {deleted}")
        if not count:
            self.stdout.write(f"{schema}: adds up")
        return not count
