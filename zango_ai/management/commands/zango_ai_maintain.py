from __future__ import annotations

from typing import Any

from ... import limits
from ...store import maintenance
from ..per_tenant import TenantCommand


class Command(TenantCommand):
    help = (
        "End the runs whose process is gone, and give back what they hold of budgets. Run it every few minutes; it "
        "may run while agents do, and more than once at a time."
    )

    def handle_tenant(self, schema: str, **options: Any) -> bool:
        done = maintenance.abandon_orphans(schema)
        if done.runs or options["verbosity"] > 1:
            self.stdout.write(f"{schema}: {done.runs} abandoned, {limits.dollars(done.given_back_usd)} given back")
        return True
