from __future__ import annotations

from typing import Any

from django.core.management.base import CommandError, CommandParser

from ...ledger import erasure
from ..per_tenant import TenantCommand


class Command(TenantCommand):
    help = (
        "Erase a user's texts: prompts, answers, tool calls, files and conversations, also in the storage. "
        "Tokens, cost and times stay. Prints what was erased. Runs and conversations on legal hold are kept."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("--user-ref", required=True, help="the user_ref that was passed to run()")
        parser.add_argument("--dry-run", action="store_true", help="change nothing; print what would be erased")

    def handle(self, *args: Any, **options: Any) -> None:
        if not options["user_ref"]:
            raise CommandError("--user-ref is empty. Runs without a user belong to nobody.")
        super().handle(*args, **options)

    def handle_tenant(self, schema: str, **options: Any) -> bool:
        user_ref, dry_run = options["user_ref"], options["dry_run"]
        found = erasure.plan(schema, user_ref)
        if found.in_progress and not dry_run:
            self.stderr.write(
                f"{schema}: nothing was erased, because {found.in_progress} runs of this user are queued, running "
                "or waiting for approval, or runs of others in a conversation with this user. Wait, or cancel them "
                "with get_run(run_id).cancel(), and erase again."
            )
            return False
        if not dry_run:
            erasure.erase(schema, user_ref)
        self._report(schema, found, "would be erased" if dry_run else "erased")
        return dry_run or not self._is_left(schema, user_ref)

    def _report(self, schema: str, found: erasure.Erasure, verb: str) -> None:
        counts = ", ".join(f"{count} {kind}" for kind, count in found.counts.items())
        self.stdout.write(f"{schema}: {counts} {verb}")
        if found.in_progress:
            self.stdout.write(f"{schema}: {found.in_progress} runs are in progress and must end first")
        if found.held:
            self.stdout.write(f"{schema}: {found.held} runs and conversations kept by a legal hold")

    def _is_left(self, schema: str, user_ref: str) -> bool:
        left = erasure.plan(schema, user_ref)
        is_left = bool(left.in_progress or any(left.counts.values()))
        if is_left:
            self.stderr.write(f"{schema}: a run of this user was written at the same time. Erase again.")
        return is_left
