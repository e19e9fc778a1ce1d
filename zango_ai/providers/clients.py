"""What litellm is given to reach a vendor with: key, address, and a client on a connection of ours.

Nothing is left for it to find by itself. It would look into the host's environment and files, and into caches that
all tenants of the process share. Clients are kept per credentials, and closed when they are not used for a while.
"""

from __future__ import annotations

import hashlib
import os
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx

from ..encryption.fields import Credentials
from ..types import ProviderSpec, Secrets
from . import private, wire
from .kinds import KINDS, Kind
from .masking import Mask

IDLE_S = 300.0
"""A client that was not used for so long is closed, at the next use of another."""
MAX_KEPT = 200
SHORTEST_IN_ANSWERS = 8


@dataclass(slots=True)
class Kept:
    """A client of one set of credentials, with what was built on it."""

    http: httpx.Client
    address: Mapping[str, Any] = field(repr=False)
    """What litellm is given of key and address."""
    mask: Mask
    """Masks every credential, for errors."""
    answer_mask: Mask
    """Masks credentials in what a model says, but for short ones: they are no secret, and may be words."""
    built: Any = None
    """What litellm takes as its client."""
    users: int = 0
    last_used: float = 0.0


_kept: dict[object, Kept] = {}
_lock = threading.Lock()


def _forget_all() -> None:
    """In a process that was just forked: the clients are the parent's, and so may be the lock's holder."""
    global _lock
    _lock = threading.Lock()
    _kept.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_all)


@contextmanager
def kept_for(provider: ProviderSpec, kind: Kind) -> Iterator[Kept]:
    """The client that is kept for the provider's credentials."""
    key = key_of(provider)
    with _lock:
        kept = _kept.get(key)
        if kept is None:
            kept = _kept[key] = _make(provider, kind)
        kept.users += 1
        closing = _idle()
    for other in closing:
        other.http.close()
    try:
        yield kept
    finally:
        with _lock:
            kept.users -= 1
            kept.last_used = time.monotonic()


def _make(provider: ProviderSpec, kind: Kind) -> Kept:
    secrets = kind.secrets_of(provider.credentials)
    masks = Mask(secrets), Mask(secrets, shortest=SHORTEST_IN_ANSWERS)
    return Kept(wire.new_client(), address_of(provider.credentials, kind), *masks)


def _idle() -> list[Kept]:
    """Take out the clients that nobody has used for a while, and the oldest where there are too many."""
    now = time.monotonic()
    unused = sorted(
        ((kept.last_used, key) for key, kept in _kept.items() if not kept.users), key=lambda item: item[0]
    )
    surplus = max(len(_kept) - MAX_KEPT, 0)
    return [
        _kept.pop(key)
        for position, (last_used, key) in enumerate(unused)
        if now - last_used > IDLE_S or position < surplus
    ]


def address_of(credentials: Secrets, kind: Kind) -> dict[str, Any]:
    """Key and address, always given: what litellm is not told it takes from the host's environment."""
    held = ((slot.name, str(credentials.get(slot.name) or "").strip()) for slot in kind.slots)
    given: dict[str, Any] = {name: value for name, value in held if value}
    base = kind.base_of(credentials)
    if kind.name == "bedrock":
        # With a bearer token litellm looks for no AWS credentials: not in the host's environment, not in its
        # profile files, not at STS. What is sent is signed with the tenant's own instead, in _sign().
        region = given["aws_region_name"]
        return {"api_key": "none", "aws_region_name": region, "aws_bedrock_runtime_endpoint": base}
    if "base_model" in given:
        given["base_model"] = f"azure/{given['base_model']}"
    # A server that asks for no key is sent a word.
    return {"api_key": "none", **given, "api_base": base}


def build(credentials: Secrets, kind: Kind, kept: Kept) -> Any:
    """What litellm takes as this vendor's client, on the HTTP client that is kept."""
    given = kept.address
    if kind.client == "httpx":
        from litellm.llms.custom_httpx.http_handler import HTTPHandler

        if kind.name == "bedrock":
            kept.http.event_hooks = {"request": [lambda request: _sign(request, credentials)]}
        kept.built = HTTPHandler(client=kept.http)
        return kept.built
    from .openai_client import AzureClient, Client

    common = {"api_key": given["api_key"], "http_client": kept.http, "max_retries": 0}
    if kind.client == "azure":
        built: Any = AzureClient(azure_endpoint=given["api_base"], api_version=given["api_version"], **common)
        private.replace("openai", built, "_azure_ad_token", None)  # it has read the host's environment
    else:
        built = Client(base_url=given["api_base"], **common)
    private.replace("openai", built, "_custom_headers", {})  # OPENAI_CUSTOM_HEADERS
    # Both are read from the environment, by the SDK and once more by litellm.
    own = {"openai-organization": given.get("organization"), "openai-project": None}
    kept.http.event_hooks = {"request": [lambda request: _set_headers(request, own)]}
    kept.built = built
    return built


def _sign(request: httpx.Request, credentials: Secrets) -> None:
    """Sign a request to Bedrock as AWS wants it (Signature Version 4)."""
    from botocore import auth, awsrequest
    from botocore import credentials as keys

    held = {slot.name: str(credentials.get(slot.name) or "").strip() for slot in KINDS["bedrock"].slots}
    own = keys.Credentials(
        held["aws_access_key_id"], held["aws_secret_access_key"], held.get("aws_session_token") or None
    )
    for name in ("authorization", "x-amz-date", "x-amz-security-token"):
        request.headers.pop(name, None)
    wire.fill(request)
    digest = hashlib.sha256()
    assert isinstance(request.stream, httpx.SyncByteStream)
    for piece in request.stream:
        digest.update(piece)
    headers = {"Content-Type": request.headers["content-type"], "X-Amz-Content-SHA256": digest.hexdigest()}
    signed = awsrequest.AWSRequest("POST", str(request.url), headers)
    auth.SigV4Auth(own, "bedrock", held["aws_region_name"]).add_auth(signed)
    request.headers.update(signed.headers.items())


def _set_headers(request: httpx.Request, headers: Mapping[str, str | None]) -> None:
    for name, value in headers.items():
        request.headers.pop(name, None)
        if value is not None:
            request.headers[name] = value


def key_of(provider: ProviderSpec) -> object:
    """The same for the same credentials, and without them: their encrypted form changes with each saving."""
    held = provider.credentials
    return provider.kind, held.token if isinstance(held, Credentials) else repr(held)
