"""The encryption key that stands in until an operator sets his own. May be imported from settings."""

from __future__ import annotations

import base64
import hashlib


def derive_key(secret_key: str | bytes) -> str:
    """A Fernet key from a ``SECRET_KEY``.

    Without ``ZANGO_AI["ENCRYPTION_KEYS"]`` credentials are encrypted with ``derive_key(SECRET_KEY)``. To move
    to keys of your own, list that one last until every row is encrypted anew::

        ZANGO_AI = {"ENCRYPTION_KEYS": [os.environ["AI_KEY"], derive_key(SECRET_KEY)]}
    """
    secret = secret_key.encode() if isinstance(secret_key, str) else secret_key
    digest = hashlib.sha256(b"zango_ai.credentials\0" + secret).digest()
    return base64.urlsafe_b64encode(digest).decode()
