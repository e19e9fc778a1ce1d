"""Derive the encryption key that is used until an operator sets one. Settings may import this module."""

from __future__ import annotations

import base64
import hashlib


def derive_key(secret_key: str | bytes) -> str:
    """A Fernet key from a ``SECRET_KEY``.

    Without ``ZANGO_AI["ENCRYPTION_KEYS"]``, ``derive_key(SECRET_KEY)`` encrypts credentials. To change to keys of
    your own, keep it at the end of the list until every row is encrypted with a new key::

        ZANGO_AI = {"ENCRYPTION_KEYS": [os.environ["AI_KEY"], derive_key(SECRET_KEY)]}
    """
    secret = secret_key.encode() if isinstance(secret_key, str) else secret_key
    digest = hashlib.sha256(b"zango_ai.credentials\0" + secret).digest()
    return base64.urlsafe_b64encode(digest).decode()
