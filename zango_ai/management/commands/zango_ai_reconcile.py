from __future__ import annotations

from typing import Any

from ...ledger import reconciliation
from ..per_tenant import TenantCommand

_MAX_LINES = 100


class Command(TenantCommand):
    help = (
        "Check that rounds, invocations and the monthly spend add up. Report every difference, and fail if there "
        "is one. Changes nothing, and is safe to run beside agents."
    )

    def handle_tenant(self, schema: str, **options: Any) -> bool:
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
