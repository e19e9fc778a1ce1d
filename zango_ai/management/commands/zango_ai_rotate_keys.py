from __future__ import annotations

from typing import Any

from django.core.management.base import CommandParser

from ...fields import Undecryptable, rotated
from ...models import Provider
from ..per_tenant import TenantCommand


class Command(TenantCommand):
    help = (
        "Encrypt every provider's credentials under the first key in ZANGO_AI['ENCRYPTION_KEYS']. May be "
        "interrupted and run again, and run while agents do."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("--dry-run", action="store_true", help="only tell what would be done")

    def handle_tenant(self, schema: str, **options: Any) -> bool:
        done, lost = 0, []
        for provider in Provider.objects.order_by("pk"):
            before = provider.credentials.token
            try:
                after = rotated(before)
            except Undecryptable:
                lost.append(provider.name)
                continue
            if after is None:
                continue
            done += 1
            if not options["dry_run"]:
                # Only where nobody has saved other credentials meanwhile: those are under the first key.
                Provider.objects.extra(where=["credentials = %s"], params=[before]).filter(pk=provider.pk).update(
                    credentials=type(provider.credentials)(token=after)
                )
        verb = "to rotate" if options["dry_run"] else "rotated"
        self.stdout.write(f"{schema}: {done} {verb}")
        for name in lost:
            self.stderr.write(
                f"{schema}: no key opens the credentials of provider {name!r}. Put the key that they were saved "
                "with back into ENCRYPTION_KEYS, or enter them again."
            )
        return not lost
