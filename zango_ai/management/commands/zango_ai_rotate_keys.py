from __future__ import annotations

from typing import Any

from django.core.management.base import CommandParser

from ...encryption.cipher import Undecryptable, rotated
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
        done: set[int] = set()
        lost: dict[int, str] = {}
        # Again until there is nothing to do: a process with the old settings may save meanwhile.
        while todo := self._todo(lost):
            if options["dry_run"]:
                done = {pk for pk, *_ in todo}
                break
            done |= {pk for pk, before, after in todo if Provider.swap_credentials(pk, before, after)}
        self.stdout.write(f"{schema}: {len(done)} {'to rotate' if options['dry_run'] else 'rotated'}")
        for name in lost.values():
            self.stderr.write(
                f"{schema}: no key opens the credentials of provider {name!r}. Put the key that they were saved "
                "with back, or enter them again."
            )
        return not lost

    def _todo(self, lost: dict[int, str]) -> list[tuple[int, str, str]]:
        """Key, token and new token of each row that is not under the first key; ``lost`` are those without any."""
        found = []
        for provider in Provider.objects.order_by("pk"):
            before = provider.credentials.token
            try:
                after = rotated(before)
            except Undecryptable:
                lost[provider.pk] = provider.name
                continue
            if after is not None:
                found.append((provider.pk, before, after))
        return found
