"""The JSON forms that servers have refused recently, so that later requests do not pay for the same refusal.

Each process remembers them for ``REMEMBERED_S``: a server may be updated or replaced.
"""

from __future__ import annotations

import json
import threading
import time

from ..types import JSONForm, ModelRequest, ProviderSpec
from .clients import key_of

REMEMBERED_S = 900.0
_MAX_REMEMBERED = 2_000

_Key = tuple[object, str, JSONForm, str]
_refused: dict[_Key, float] = {}
"""The time of each refusal by ``time.monotonic()``, the oldest first."""
_lock = threading.Lock()


def remember(provider: ProviderSpec, request: ModelRequest, *, only_this_schema: bool) -> None:
    """Remember that the server refused the request's ``json_form``, for its schema only or for every schema."""
    key = _key(provider, request, request.json_form, _schema_text(request) if only_this_schema else "")
    with _lock:
        _refused.pop(key, None)
        _refused[key] = time.monotonic()
        while len(_refused) > _MAX_REMEMBERED:
            del _refused[next(iter(_refused))]


def of(provider: ProviderSpec, request: ModelRequest) -> set[JSONForm]:
    """The forms that this server has refused for this model and schema."""
    if not _refused:
        return set()
    since = time.monotonic() - REMEMBERED_S
    forms: tuple[JSONForm, ...] = ("schema", "object")
    keys = [_key(provider, request, form, text) for form in forms for text in ("", _schema_text(request))]
    with _lock:
        return {key[2] for key in keys if _refused.get(key, since) > since}


def forget() -> None:
    """Forget every refusal."""
    with _lock:
        _refused.clear()


def _key(provider: ProviderSpec, request: ModelRequest, form: JSONForm, schema_text: str) -> _Key:
    return key_of(provider), request.model, form, schema_text


def _schema_text(request: ModelRequest) -> str:
    return json.dumps(request.json_schema)
