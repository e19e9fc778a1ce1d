from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from ...conf import get_conf
from ...ledger import alerts, expiry, maintenance
from ...ledger.money import format_usd
from ...memory import sessions
from ..per_tenant import TenantCommand

logger = logging.getLogger("zango_ai.maintenance")


class Command(TenantCommand):
    help = (
        "End the runs whose process is gone, and give back what they hold of budgets; end the runs whose approval "
        "expired; delete conversations that were idle for ZANGO_AI['SESSION_TTL_DAYS']. Run it every few minutes; "
        "it may run while agents do, and several times at once."
    )

    def handle_tenant(self, schema: str, **options: Any) -> bool:
        is_verbose = options["verbosity"] > 1
        steps = (
            *(self._abandon, self._end_unsent, self._end_expired, self._alert),
            *(self._delete_orphans, self._delete_idle),
        )
        done = [self._is_done(step, schema, is_verbose) for step in steps]
        return all(done)

    def _is_done(self, step: Callable[[str, bool], None], schema: str, is_verbose: bool) -> bool:
        """False where the step fails, which keeps no other step from its work."""
        try:
            step(schema, is_verbose)
        except Exception as exc:
            logger.exception("A step of the maintenance of schema %s has failed", schema)
            self.stderr.write(f"{schema}: {type(exc).__name__}: {exc}")
            return False
        return True

    def _abandon(self, schema: str, is_verbose: bool) -> None:
        done = maintenance.abandon_orphans(schema)
        if done.runs or is_verbose:
            self.stdout.write(f"{schema}: {done.runs} abandoned, {format_usd(done.given_back_usd)} given back")

    def _end_unsent(self, schema: str, is_verbose: bool) -> None:
        unsent = maintenance.end_unsent(schema)
        if unsent:
            self.stdout.write(f"{schema}: {unsent} ended that nobody will run")

    def _end_expired(self, schema: str, is_verbose: bool) -> None:
        expired = expiry.end_expired_approvals(schema)
        if expired:
            self.stdout.write(f"{schema}: {expired} ended whose approval expired")

    def _alert(self, schema: str, is_verbose: bool) -> None:
        alerts_sent = alerts.send_due(schema)
        if alerts_sent:
            self.stdout.write(f"{schema}: {alerts_sent} budget alerts sent")

    def _delete_orphans(self, schema: str, is_verbose: bool) -> None:
        sessions.delete_orphans(schema)

    def _delete_idle(self, schema: str, is_verbose: bool) -> None:
        days = get_conf().session_ttl_days
        deleted = 0 if days is None else sessions.delete_idle(schema, days)
        if deleted or (is_verbose and days is not None):
            self.stdout.write(f"{schema}: {deleted} idle conversations deleted")
