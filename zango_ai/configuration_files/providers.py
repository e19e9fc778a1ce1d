"""Import providers. Credentials are never in the file: those in the database stay."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..conf import get_conf
from ..encryption.cipher import Undecryptable
from ..encryption.credentials import Credentials
from ..models import Provider, ProviderModel
from ..providers import addresses
from ..providers.kinds import KINDS, Kind
from . import rows
from .export import columns, connection_of
from .file_parts import Part

_KEYS = {*(field.name for field in columns(Provider)), "connection", "models"}
_MODEL_KEYS = {field.name for field in columns(ProviderModel)}


def import_provider(name: str, part: Part, row: Provider | None, *, prune: bool) -> Provider | None:
    """Create or change a provider and its models. None if it could not be created."""
    entries = part.entries(_KEYS)
    provider = row or Provider(name=name)
    earlier = place_of_secrets(provider)
    is_changed = rows.assign(provider, entries)
    kind = KINDS.get(provider.kind)
    if kind is not None and ("connection" in entries or place_of_secrets(provider) != earlier):
        is_changed |= _connect(provider, kind, entries.get("connection"), earlier)
    if kind is not None and row is None:
        provider.validation_error = missing_credentials(provider)
    if is_changed and not rows.save(provider, part, clean=False):
        return row
    if "models" in entries:
        _import_models(provider, entries["models"], prune=prune)
    return provider


def missing_credentials(provider: Provider) -> str:
    """A note that the provider cannot be called until somebody enters its credentials; "" if it can."""
    kind = KINDS.get(provider.kind)
    if kind is None:
        return ""
    try:
        missing = [s.label for s in kind.slots if s.is_required and not str(provider.credentials.get(s.name) or "")]
    except Undecryptable:
        return (
            f"provider {provider.name}: the saved credentials cannot be decrypted. Enter them again in the admin."
        )
    if not missing:
        return ""
    return f"provider {provider.name}: enter in the admin: {', '.join(missing)}. Until then, its calls are refused."


def _connect(provider: Provider, kind: Kind, part: Part | None, earlier: tuple[str, str]) -> bool:
    """Set the settings that are not secret. Saved secrets are removed if they would go to another address."""
    names = [slot.name for slot in kind.slots if not slot.is_secret]
    before = connection_of(provider)
    wanted = before
    if part is not None:
        wanted = {key: text for key, each in part.entries(names).items() if (text := each.text())}
    if wanted == before and place_of_secrets(provider) == earlier:
        return False
    problem = _problem_of_address(kind, wanted)
    if problem and part is not None:
        part.report(problem, "api_base")
        return False
    try:
        provider.credentials = _with_connection(provider.credentials, kind, wanted, earlier)
    except Undecryptable:
        provider.credentials = Credentials(wanted)
    return True


def _with_connection(saved: Any, kind: Kind, wanted: Mapping[str, str], earlier: tuple[str, str]) -> Credentials:
    if _place_of(kind, wanted) != earlier:
        return Credentials(wanted)
    secret = {slot.name for slot in kind.slots if slot.is_secret}
    # In one expression: a traceback shows local variables.
    return Credentials({**{key: text for key, text in saved.reveal().items() if key in secret}, **wanted})


def place_of_secrets(provider: Provider) -> tuple[str, str]:
    """The kind and the address to which the provider's secrets are sent."""
    kind = KINDS.get(provider.kind)
    return ("", "") if kind is None else _place_of(kind, connection_of(provider))


def _place_of(kind: Kind, connection: Mapping[str, str]) -> tuple[str, str]:
    try:
        return kind.name, kind.base_url(connection)
    except KeyError:  # no region yet
        return kind.name, ""


def _problem_of_address(kind: Kind, connection: Mapping[str, str]) -> str | None:
    address = _place_of(kind, connection)[1]
    return addresses.problem_of(address, get_conf().allowed_api_bases) if address else None


def _import_models(provider: Provider, part: Part, *, prune: bool) -> None:
    saved = {model.model_id: model for model in provider.models.all()}
    entries = part.named_entries()
    for model_id, each in entries.items():
        model = saved.get(model_id) or ProviderModel(provider=provider, model_id=model_id)
        if rows.assign(model, each.entries(_MODEL_KEYS)):
            rows.save(model, each)
    if prune:
        provider.models.exclude(model_id__in=entries).delete()
