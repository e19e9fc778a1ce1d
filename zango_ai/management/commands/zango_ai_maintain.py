from __future__ import annotations

from typing import Any

from ... import limits
from ...conf import get_conf
from ...store import alerts, expiry, maintenance, memory
from ..per_tenant import TenantCommand


class Command(TenantCommand):
    help = (
        "End the runs whose process is gone, and give back what they hold of budgets; end the runs whose approval "
        "expired; delete conversations that were idle for ZANGO_AI['SESSION_TTL_DAYS']. Run it every few minutes; "
        "it may run while agents do, and several times at once."
    )

    def handle_tenant(self, schema: str, **options: Any) -> bool:
        done = maintenance.abandon_orphans(schema)
        if done.runs or options["verbosity"] > 1:
            self.stdout.write(f"{schema}: {done.runs} abandoned, {limits.dollars(done.given_back_usd)} given back")
        unsent = maintenance.end_unsent(schema)
        if unsent:
            self.stdout.write(f"{schema}: {unsent} ended that nobody will run")
        expired = expiry.end_expired_approvals(schema)
        if expired:
            self.stdout.write(f"{schema}: {expired} ended whose approval expired")
        alerts_sent = alerts.send_due(schema)
        if alerts_sent:
            self.stdout.write(f"{schema}: {alerts_sent} budget alerts sent")
        memory.delete_orphans(schema)
        days = get_conf().session_ttl_days
        deleted = 0 if days is None else memory.delete_idle(schema, days)
        if deleted or (options["verbosity"] > 1 and days is not None):
            self.stdout.write(f"{schema}: {deleted} idle conversations deleted")
        return True
