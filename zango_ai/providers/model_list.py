"""The vendors' lists of models. litellm is not used for them: it drops the path of an API base."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import httpx

from ..exceptions import ProviderConfigInvalid
from ..types import ProviderSpec
from . import checks, clients, errors
from .call_trace import CallTrace
from .kinds import Kind
from .vendor_messages import Cleaner

TIMEOUT_S = 30.0
_MAX_PAGES = 100
_MAX_NAME = 200


def list_models(provider: ProviderSpec, timeout_s: float = TIMEOUT_S) -> list[str]:
    """The names of the models that the provider's key may use for chat, sorted.

    Raises ProviderConfigInvalid if the vendor does not list models, and what ``PreparedCall.send()`` raises.
    """
    kind = checks.check_provider(provider)
    if not kind.models_path:
        raise ProviderConfigInvalid(
            provider.name,
            f"{kind.label} has no list of models that an API key can read. Enter the models of provider "
            f"{provider.name!r} by hand.",
            field="kind",
        )
    names = _fetch(provider, kind, timeout_s)
    if isinstance(names, BaseException):
        raise names
    return sorted(names)


def _fetch(provider: ProviderSpec, kind: Kind, timeout_s: float) -> set[str] | BaseException:
    """The names or the error. It is returned, so that no traceback shows frames that hold the key."""
    caught_before = sys.exception()
    trace = CallTrace.start(timeout_s)
    try:
        with trace.active(), clients.borrow(provider, kind) as client:
            try:
                names = _names(client.http, kind, provider)
                return {name for name in names if client.answer_mask.apply(name) == name}
            except BaseException as exc:
                where = f"Provider {provider.name!r} (its list of models)"
                cleaner = Cleaner(client.mask)
                return errors.of_call(
                    exc,
                    trace,
                    caught_before,
                    provider_name=provider.name,
                    where=where,
                    cleaner=cleaner,
                    is_v1_missing=kind.is_v1_missing(provider.credentials),
                )
    except BaseException as exc:  # a task's time limit, raised before the call or while its error was read
        return errors.without_frames(exc)


def _names(http: httpx.Client, kind: Kind, provider: ProviderSpec) -> Iterator[str]:
    """The names on all pages of the list."""
    url = kind.base_url(provider.credentials) + kind.models_path
    headers, params = kind.model_list_headers(provider.credentials), dict(kind.model_list_params)
    for _page in range(_MAX_PAGES):
        response = http.get(url, headers=headers, params=params, follow_redirects=False)
        response.raise_for_status()
        page: dict[str, Any] = response.json()
        yield from filter(_is_name, kind.listed_models(page))
        if page.get("has_more") and page.get("last_id"):
            params["after_id"] = str(page["last_id"])
        elif page.get("nextPageToken"):
            params["pageToken"] = str(page["nextPageToken"])
        else:
            return


def _is_name(name: Any) -> bool:
    """Whether a ``ProviderModel`` row can hold the name."""
    return isinstance(name, str) and 0 < len(name) <= _MAX_NAME and name.isprintable()
