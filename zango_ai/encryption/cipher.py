"""Encrypt and decrypt text with the project's keys: Fernet (AES-128-CBC with HMAC-SHA256) from ``cryptography``."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.core.signals import setting_changed
from django.dispatch import receiver

from ..conf import get_conf
from .keys import derive_key

if TYPE_CHECKING:
    from cryptography.fernet import Fernet


class Undecryptable(Exception):
    """No key in use decrypts the value."""


def encrypt(text: str) -> str:
    """The token of ``text``, under the first key."""
    return _keys()[0].encrypt(text.encode()).decode()


def decrypt(token: str) -> str:
    """The text of ``token``, under whichever key. Raises Undecryptable."""
    from cryptography.fernet import InvalidToken, MultiFernet

    try:
        return MultiFernet(_keys()).decrypt(token.encode()).decode()
    except InvalidToken:
        raise _undecryptable() from None


def rotated(token: str) -> str | None:
    """``token`` encrypted under the first key; None if it is already. Raises Undecryptable."""
    from cryptography.fernet import InvalidToken, MultiFernet

    try:
        _keys()[0].decrypt(token.encode())
        return None
    except InvalidToken:
        pass
    try:
        return MultiFernet(_keys()).rotate(token.encode()).decode()
    except InvalidToken:
        raise _undecryptable() from None


def _undecryptable() -> Undecryptable:
    return Undecryptable("No key in ZANGO_AI['ENCRYPTION_KEYS'] decrypts this value.")


@lru_cache(maxsize=1)
def _keys() -> tuple[Fernet, ...]:
    """The first key encrypts; every key decrypts."""
    from cryptography.fernet import Fernet

    derived = (derive_key(secret) for secret in (settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS))
    return tuple(Fernet(key) for key in get_conf().encryption_keys or derived)


@receiver(setting_changed)
def _clear_keys(*, setting: str, **kwargs: Any) -> None:
    if setting in {"ZANGO_AI", "SECRET_KEY", "SECRET_KEY_FALLBACKS"}:
        _keys.cache_clear()
