from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from django.core.management.base import CommandParser
from django.utils import timezone

from ...conf import get_conf
from ...exceptions import DatabaseNotSupported
from ...ledger import alerts, expiry, maintenance, retention, stored_chunks, usage_upkeep
from ...ledger.money import format_usd
from ...memory import sessions
from ...models import MaintenanceRecord
from ..per_tenant import TenantCommand

logger = logging.getLogger("zango_ai.maintenance")


class Command(TenantCommand):
    help = (
        "End runs whose process has died and release what they reserved of budgets. End runs whose approval has "
        "expired. Send budget alerts that are due. Delete conversations that have been idle for longer than "
        "ZANGO_AI['SESSION_TTL_DAYS'], and the stored chunks of streams that ended a day ago. Remove the texts of "
        "runs older than PAYLOAD_TTL_DAYS, and delete runs older than INVOCATION_TTL_DAYS. Merge the usage figures "
        "of past hours into days. Schedule it every few minutes. It can run beside agents and beside itself."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument(
            "--dry-run", action="store_true", help="change nothing; print what is old enough to be removed"
        )

    def handle_tenant(self, schema: str, **options: Any) -> bool:
        is_verbose = options["verbosity"] > 1
        if options["dry_run"]:
            return self._succeeds(self._preview, schema, is_verbose)
        steps = (
            *(self._abandon, self._end_unsent, self._end_expired, self._alert),
            *(
                self._delete_orphans,
                self._delete_idle,
                self._delete_chunks,
                self._apply_retention,
                self._merge_usage,
            ),
        )
        results = [self._succeeds(step, schema, is_verbose) for step in steps]
        record = {"finished_at": timezone.now(), "failed_steps": results.count(False)}
        MaintenanceRecord.objects.update_or_create(pk=1, defaults=record)
        return all(results)

    def _succeeds(self, step: Callable[[str, bool], None], schema: str, is_verbose: bool) -> bool:
        """Run the step. False if it fails: the other steps run all the same."""
        try:
            step(schema, is_verbose)
        except DatabaseNotSupported:
            raise
        except Exception as exc:
            logger.exception("A maintenance step failed in schema %s", schema)
            self.stderr.write(f"{schema}: {type(exc).__name__}: {exc}")
            return False
        return True

    def _abandon(self, schema: str, is_verbose: bool) -> None:
        abandoned = maintenance.abandon_orphans(schema)
        if abandoned.runs or is_verbose:
            self.stdout.write(
                f"{schema}: {abandoned.runs} abandoned runs ended, {format_usd(abandoned.given_back_usd)} released"
            )

    def _end_unsent(self, schema: str, is_verbose: bool) -> None:
        unsent = maintenance.end_unsent(schema)
        if unsent:
            self.stdout.write(f"{schema}: {unsent} queued runs ended that no worker will start")

    def _end_expired(self, schema: str, is_verbose: bool) -> None:
        expired = expiry.end_expired_approvals(schema)
        if expired:
            self.stdout.write(f"{schema}: {expired} runs ended because an approval expired")

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

    def _delete_chunks(self, schema: str, is_verbose: bool) -> None:
        deleted = stored_chunks.delete_old(schema)
        if deleted or is_verbose:
            self.stdout.write(f"{schema}: {deleted} stored chunks of streams deleted")

    def _apply_retention(self, schema: str, is_verbose: bool) -> None:
        removed = retention.apply(schema, _retention())
        if removed or is_verbose:
            self.stdout.write(
                f"{schema}: texts of {removed.texts} runs removed, {removed.runs} runs deleted, "
                f"{removed.held} kept by a legal hold"
            )

    def _preview(self, schema: str, is_verbose: bool) -> None:
        removed, days = retention.preview(schema, _retention()), get_conf().session_ttl_days
        idle = 0 if days is None else sessions.count_idle(schema, days)
        self.stdout.write(
            f"{schema}: would remove the texts of {removed.texts} runs, delete {removed.runs} runs and {idle} idle "
            f"conversations, and keep {removed.held} runs by a legal hold"
        )

    def _merge_usage(self, schema: str, is_verbose: bool) -> None:
        merged = usage_upkeep.merge_hours(schema)
        if is_verbose:
            self.stdout.write(f"{schema}: {merged} hours of usage merged into days")


def _retention() -> retention.Retention:
    conf = get_conf()
    return retention.Retention(conf.payload_ttl_days, conf.invocation_ttl_days)
