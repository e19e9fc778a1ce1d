from __future__ import annotations

from typing import Any

from django.core.management.base import CommandParser

from ...encryption.cipher import Undecryptable, rotated
from ...models import Provider
from ..per_tenant import TenantCommand


class Command(TenantCommand):
    help = (
        "Re-encrypt the credentials of every provider with the first key in ZANGO_AI['ENCRYPTION_KEYS']. Safe to "
        "interrupt and run again, and to run beside agents."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("--dry-run", action="store_true", help="only show what would be rotated")

    def handle_tenant(self, schema: str, **options: Any) -> bool:
        rotated_ids: set[int] = set()
        undecryptable: dict[int, str] = {}
        # Repeat until nothing is left: a process with the old settings may save credentials meanwhile.
        while outdated := self._outdated(undecryptable):
            if options["dry_run"]:
                rotated_ids = {pk for pk, *_ in outdated}
                break
            rotated_ids |= {pk for pk, before, after in outdated if Provider.swap_credentials(pk, before, after)}
        self.stdout.write(f"{schema}: {len(rotated_ids)} {'to rotate' if options['dry_run'] else 'rotated'}")
        for name in undecryptable.values():
            self.stderr.write(
                f"{schema}: no key decrypts the credentials of provider {name!r}. Add the key that they were saved "
                "with to ENCRYPTION_KEYS, or enter the credentials again."
            )
        return not undecryptable

    def _outdated(self, undecryptable: dict[int, str]) -> list[tuple[int, str, str]]:
        """ID, token and new token of each provider not encrypted with the first key.

        Adds the names of providers that no key decrypts to ``undecryptable``.
        """
        outdated = []
        for provider in Provider.objects.order_by("pk"):
            before = provider.credentials.token
            try:
                after = rotated(before)
            except Undecryptable:
                undecryptable[provider.pk] = provider.name
                continue
            if after is not None:
                outdated.append((provider.pk, before, after))
        return outdated
