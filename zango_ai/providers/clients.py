"""HTTP clients and litellm's clients, kept per set of credentials and closed when they are idle.

litellm gets the key, the address and the client with each call. It would otherwise take them from the host's
environment and files, and from caches that all tenants of the process share.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx

from ..encryption.credentials import Credentials
from ..types import ProviderSpec, Secrets
from . import transport
from .kinds import Kind
from .masking import Mask

IDLE_S = 300.0
"""A client that was unused for this long is closed at the next use of any other."""
MAX_CLIENTS = 200
MIN_MASKED_IN_ANSWERS = 8
"""Shorter credentials are not masked in answers: they protect nothing, and may be ordinary words."""


@dataclass(slots=True)
class Client:
    """The clients of one set of credentials."""

    http: httpx.Client
    litellm_arguments: Mapping[str, Any] = field(repr=False)
    """Key and address, as arguments of ``litellm.completion()``."""
    mask: Mask
    """Masks every credential, for errors."""
    answer_mask: Mask
    """Masks credentials in a model's answer."""
    _for_litellm: Any = None
    _users: int = 0
    _last_used: float = 0.0

    def for_litellm(self, kind: Kind, credentials: Secrets) -> Any:
        """The client object that litellm expects for this vendor."""
        if self._for_litellm is None:
            self._for_litellm = kind.litellm_client(self.http, credentials, self.litellm_arguments)
        return self._for_litellm


_clients: dict[object, Client] = {}
_lock = threading.Lock()


def _forget_all() -> None:
    """Run in a forked process: the clients are the parent's, and a thread of the parent may have held the lock."""
    global _lock
    _lock = threading.Lock()
    _clients.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_all)


@contextmanager
def borrow(provider: ProviderSpec, kind: Kind) -> Iterator[Client]:
    """The client of the provider's credentials. It stays open until the block ends."""
    key = key_of(provider)
    with _lock:
        client = _clients.get(key)
        if client is None:
            client = _clients[key] = _new_client(provider, kind)
        client._users += 1
        idle = _pop_idle()
    for other in idle:
        other.http.close()
    try:
        yield client
    finally:
        with _lock:
            client._users -= 1
            client._last_used = time.monotonic()


def _new_client(provider: ProviderSpec, kind: Kind) -> Client:
    secrets = kind.secrets(provider.credentials)
    masks = Mask(secrets), Mask(secrets, shortest=MIN_MASKED_IN_ANSWERS)
    return Client(transport.new_client(), kind.litellm_arguments(provider.credentials), *masks)


def _pop_idle() -> list[Client]:
    """Remove and return the clients that are idle, and the oldest unused ones if there are too many."""
    now = time.monotonic()
    unused = sorted(
        ((client._last_used, key) for key, client in _clients.items() if not client._users),
        key=lambda item: item[0],
    )
    surplus = max(len(_clients) - MAX_CLIENTS, 0)
    return [
        _clients.pop(key)
        for position, (last_used, key) in enumerate(unused)
        if now - last_used > IDLE_S or position < surplus
    ]


def key_of(provider: ProviderSpec) -> object:
    """A key that is equal for equal credentials. It contains only their encrypted form, which changes when the row
    is saved."""
    credentials = provider.credentials
    return provider.kind, credentials.token if isinstance(credentials, Credentials) else repr(credentials)
