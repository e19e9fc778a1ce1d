"""Credentials for providers that a script or a recording answers. They are checked, but not needed."""

from __future__ import annotations

from dataclasses import replace

from ..encryption.cipher import Undecryptable
from ..encryption.credentials import Credentials
from ..providers.kinds import KINDS
from ..providers.kinds.base import CredentialSlot, Kind
from ..types import ProviderSpec, Secrets

_API_BASE = "https://scripted.invalid/v1"


def completed(provider: ProviderSpec) -> ProviderSpec:
    """The provider with a stand-in for each required credential that is missing or that no key decrypts."""
    kind = KINDS.get(provider.kind)
    if kind is None:
        return provider
    try:
        is_complete = kind.missing_slot(provider.credentials) is None
        return provider if is_complete else replace(provider, credentials=_completed(kind, provider.credentials))
    except Undecryptable:
        return replace(provider, credentials=_completed(kind, Credentials()))


def _completed(kind: Kind, saved: Secrets) -> Credentials:
    # In one expression: a traceback shows local variables.
    return Credentials(
        {
            slot.name: str(saved.get(slot.name) or "").strip() or _stand_in(slot)
            for slot in kind.slots
            if slot.is_required or saved.get(slot.name)
        }
    )


def _stand_in(slot: CredentialSlot) -> str:
    if slot.name == "api_base":
        return _API_BASE
    return "sk-scripted" if slot.is_secret else slot.example or "scripted"
