from __future__ import annotations

from typing import Any

from ...ledger import reconciliation
from ..per_tenant import TenantCommand

_MOST_LINES = 100


class Command(TenantCommand):
    help = (
        "Prove that the ledger adds up: rounds, invocations and the months of budgets. Names whatever does not, "
        "and fails. It changes nothing, and may run while agents do."
    )

    def handle_tenant(self, schema: str, **options: Any) -> bool:
        count = 0
        for count, drift in enumerate(reconciliation.find_drift(schema), start=1):
            if count <= _MOST_LINES:
                self.stderr.write(f"{schema}: {drift}")
        if count > _MOST_LINES:
            self.stderr.write(f"{schema}: and {count - _MOST_LINES} more")
        for deleted in reconciliation.find_deleted(schema):
            self.stdout.write(f"{schema}: {deleted}")
        if not count:
            self.stdout.write(f"{schema}: adds up")
        return not count
