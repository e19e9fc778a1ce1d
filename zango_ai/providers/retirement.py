"""When vendors switch models off, from litellm's bundled price list. Does not import litellm, which takes seconds.

The list has the day, but in this release no replacement for any model.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import date
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ..encryption.cipher import Undecryptable
from ..types import Secrets
from .kinds import KINDS

_PRICE_LIST = "model_prices_and_context_window_backup.json"


def retires_on(kind_name: str, model: str, credentials: Secrets) -> date | None:
    """The day from which the vendor no longer serves the model. None: not announced, or not known."""
    kind = KINDS.get(kind_name)
    if kind is None or not kind.price_lists or not model:
        return None
    try:
        name = kind.price_list_model(model, credentials)
    except Undecryptable:
        name = model
    days = _listed_days()
    return next((days[entry] for entry in kind.price_list_entries(name) if entry in days), None)


@lru_cache(maxsize=1)
def _listed_days() -> Mapping[tuple[str, str], date]:
    """The last day of each model that has one, by vendor and entry of the list."""
    days = {}
    for key, listing in _read_price_list().items():
        try:
            days[str(listing["litellm_provider"]), key] = date.fromisoformat(listing["deprecation_date"])
        except (KeyError, TypeError, ValueError):
            continue
    return days


def _read_price_list() -> Mapping[str, Any]:
    """The file's content; nothing if this release of litellm has another file."""
    spec = find_spec("litellm")
    for folder in (spec.submodule_search_locations if spec else None) or ():
        try:
            content = json.loads((Path(folder) / _PRICE_LIST).read_bytes())
        except (OSError, ValueError):
            continue
        if isinstance(content, dict):
            return content
    return {}
