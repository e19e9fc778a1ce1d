"""Whether the saved credentials can be decrypted."""

from __future__ import annotations

from collections.abc import Iterator

from ..encryption import cipher
from ..encryption.cipher import Undecryptable
from ..models import Provider
from .findings import Finding, Scope, error, warning


def find_in_credentials(scope: Scope) -> Iterator[Finding]:
    for provider in Provider.objects.order_by("name"):
        where = f"provider {provider.name}"
        try:
            is_old = cipher.rotated(provider.credentials.token) is not None
        except Undecryptable:
            yield error(
                "credentials.undecryptable",
                where,
                "No encryption key decrypts its credentials.",
                "Add the key that encrypted them to ZANGO_AI['ENCRYPTION_KEYS'] or SECRET_KEY_FALLBACKS, or enter "
                "the credentials again in the admin.",
            )
            continue
        if is_old:
            yield warning(
                "credentials.old_key",
                where,
                "Its credentials are encrypted with a key that is not the first one.",
                "Run: python manage.py zango_ai_rotate_keys. After that, the old key can be removed.",
            )
