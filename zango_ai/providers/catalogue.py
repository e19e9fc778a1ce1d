"""The vendors' lists of models. litellm's own look-up drops the path of an API base, so this asks directly."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import httpx

from ..exceptions import ProviderConfigInvalid
from ..types import ProviderSpec
from . import chat, clients, errors, wire
from .kinds import Kind
from .vendor_words import Cleaner

TIMEOUT_S = 30.0
_MOST_PAGES = 100


def list_models(provider: ProviderSpec) -> list[str]:
    """Ids of the models that the provider's key may use for chat, sorted.

    Raises ProviderConfigInvalid for a vendor without such a list, and what ``chat.ask`` raises.
    """
    kind = chat.check(provider)
    if not kind.models_path:
        raise ProviderConfigInvalid(
            provider.name,
            f"{kind.label} has no list of models that an API key can ask for. Enter the models of provider "
            f"{provider.name!r} by hand.",
            field="kind",
        )
    found = _ask(provider, kind)
    if isinstance(found, BaseException):
        raise found
    return sorted(found)


def _ask(provider: ProviderSpec, kind: Kind) -> set[str] | BaseException:
    """Errors are returned, so that this frame and those below, which hold the key, are in nobody's traceback."""
    caught_before = sys.exception()
    try:
        with wire.calling(TIMEOUT_S) as call, clients.kept_for(provider, kind) as kept:
            try:
                return {name for name in _pages(kept.http, kind, provider) if kept.answer_mask.apply(name) == name}
            except BaseException as exc:
                where = f"Provider {provider.name!r} (its list of models)"
                cleaner = Cleaner(kept.mask)
                return errors.of_call(
                    exc, call, caught_before, provider_name=provider.name, where=where, cleaner=cleaner
                )
    except BaseException as exc:  # a time limit that struck before the call, or while its error was being read
        return errors.without_frames(exc)


def _pages(http: httpx.Client, kind: Kind, provider: ProviderSpec) -> Iterator[str]:
    """Every vendor's list and its way of turning the page."""
    key = str(provider.credentials.get("api_key") or "").strip()
    headers = {kind.key_header: f"Bearer {key}" if kind.key_header == "Authorization" else key} if key else {}
    if organization := str(provider.credentials.get("organization") or "").strip():
        headers["OpenAI-Organization"] = organization
    if kind.name == "anthropic":
        headers["anthropic-version"] = "2023-06-01"
    params: dict[str, str] = {"anthropic": {"limit": "1000"}, "gemini": {"pageSize": "1000"}}.get(kind.name, {})
    for _page in range(_MOST_PAGES):
        url = kind.base_of(provider.credentials) + kind.models_path
        answer = http.get(url, headers=headers, params=params, follow_redirects=False)
        answer.raise_for_status()
        body: dict[str, Any] = answer.json()
        yield from filter(_is_name, _names(kind, body))
        if body.get("has_more") and body.get("last_id"):
            params = {**params, "after_id": str(body["last_id"])}
        elif body.get("nextPageToken"):
            params = {**params, "pageToken": str(body["nextPageToken"])}
        else:
            return


def _is_name(name: str) -> bool:
    """A model's name that a row can hold: what else a server lists is none."""
    return 0 < len(name) <= 200 and name.isprintable()


def _names(kind: Kind, body: dict[str, Any]) -> Iterator[str]:
    for entry in body.get("data") or body.get("models") or []:
        if kind.name == "gemini":
            if "generateContent" in entry.get("supportedGenerationMethods", ["generateContent"]):
                yield str(entry["name"]).removeprefix("models/")
        else:
            name = entry.get("id") or entry.get("name")
            yield name if isinstance(name, str) else ""
