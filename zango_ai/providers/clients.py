"""HTTP clients and litellm's clients, kept per set of credentials and closed when they are idle.

litellm gets the key, the address and the client with each call. It would otherwise take them from the host's
environment and files, and from caches that all tenants of the process share.

Async clients belong to one event loop. They are closed when the loop ends.
"""

from __future__ import annotations

import asyncio
import atexit
import os
import threading
import time
import weakref
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import httpx

from ..encryption.credentials import Credentials
from ..types import ProviderSpec, Secrets
from . import async_transport, transport
from .kinds import Kind
from .masking import Mask

Http = TypeVar("Http", httpx.Client, httpx.AsyncClient)

IDLE_S = 300.0
"""A client that was unused for this long is closed at the next use of any other."""
MAX_CLIENTS = 200
MIN_MASKED_IN_ANSWERS = 8
"""Shorter credentials are not masked in answers: they protect nothing, and may be ordinary words."""


@dataclass(slots=True)
class Client(Generic[Http]):
    """The clients of one set of credentials."""

    http: Http
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


_Clients = dict[object, Client[Http]]


@dataclass(slots=True)
class _OfLoop:
    """The clients of one event loop."""

    clients: _Clients[httpx.AsyncClient]
    closing: AsyncGenerator[None, None]
    """Closes the clients when the event loop shuts down its async generators."""


_clients: _Clients[httpx.Client] = {}
_by_loop: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, _OfLoop] = weakref.WeakKeyDictionary()
_lock = threading.Lock()


def _forget_all() -> None:
    """Run in a forked process: the clients are the parent's, and a thread of the parent may have held the lock."""
    global _lock
    _lock = threading.Lock()
    _clients.clear()
    _by_loop.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_all)


@atexit.register
def _close_all() -> None:
    """Close what is open when the process ends: also the clients of an event loop that nobody has closed."""
    for client in list(_clients.values()):
        with suppress(Exception):
            client.http.close()
    for loop, of_loop in list(_by_loop.items()):
        if not (loop.is_running() or loop.is_closed()):
            with suppress(Exception):
                loop.run_until_complete(of_loop.closing.aclose())


@contextmanager
def borrow(provider: ProviderSpec, kind: Kind) -> Iterator[Client[httpx.Client]]:
    """The client of the provider's credentials. It stays open until the block ends."""
    client, idle = _take(_clients, provider, kind, transport.new_client)
    for other in idle:
        other.http.close()
    try:
        yield client
    finally:
        _give_back(client)


@asynccontextmanager
async def borrow_async(provider: ProviderSpec, kind: Kind) -> AsyncIterator[Client[httpx.AsyncClient]]:
    """The async client of the provider's credentials in the running event loop."""
    client, idle = _take(await _clients_of_loop(), provider, kind, async_transport.new_client)
    try:
        for other in idle:
            await other.http.aclose()
        yield client
    finally:
        _give_back(client)


async def _clients_of_loop() -> _Clients[httpx.AsyncClient]:
    loop = asyncio.get_running_loop()
    found = _by_loop.get(loop)
    if found is None:
        clients: _Clients[httpx.AsyncClient] = {}
        found = _by_loop[loop] = _OfLoop(clients, _close_with_loop(clients))
        await anext(found.closing)
    return found.clients


async def _close_with_loop(clients: _Clients[httpx.AsyncClient]) -> AsyncGenerator[None, None]:
    """asyncio closes every async generator that has begun before it closes the event loop."""
    try:
        yield
    finally:
        for client in list(clients.values()):
            await client.http.aclose()


def _take(
    clients: _Clients[Http], provider: ProviderSpec, kind: Kind, new_http: Callable[[], Http]
) -> tuple[Client[Http], list[Client[Http]]]:
    """The client of the provider's credentials, and idle clients to close."""
    key = key_of(provider)
    with _lock:
        client = clients.get(key)
        if client is None:
            client = clients[key] = _new_client(provider, kind, new_http())
        client._users += 1
        return client, _pop_idle(clients)


def _give_back(client: Client[Http]) -> None:
    with _lock:
        client._users -= 1
        client._last_used = time.monotonic()


def _new_client(provider: ProviderSpec, kind: Kind, http: Http) -> Client[Http]:
    secrets = kind.secrets(provider.credentials)
    masks = Mask(secrets), Mask(secrets, shortest=MIN_MASKED_IN_ANSWERS)
    return Client(http, kind.litellm_arguments(provider.credentials), *masks)


def _pop_idle(clients: _Clients[Http]) -> list[Client[Http]]:
    """Remove and return the clients that are idle, and the oldest unused ones if there are too many."""
    now = time.monotonic()
    unused = sorted(
        ((client._last_used, key) for key, client in clients.items() if not client._users),
        key=lambda item: item[0],
    )
    surplus = max(len(clients) - MAX_CLIENTS, 0)
    return [
        clients.pop(key)
        for position, (last_used, key) in enumerate(unused)
        if now - last_used > IDLE_S or position < surplus
    ]


def key_of(provider: ProviderSpec) -> object:
    """A key that is equal for equal credentials. It contains only their encrypted form, which changes when the row
    is saved."""
    credentials = provider.credentials
    return provider.kind, credentials.token if isinstance(credentials, Credentials) else repr(credentials)
