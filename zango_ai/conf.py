"""The settings: one dict, ``ZANGO_AI``, read into one frozen value.

``read()`` tells everything that is wrong with the dict, for the system check; ``get_conf()`` is what the
rest of the package uses, and refuses a dict that is wrong.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed
from django.dispatch import receiver
from django.utils.module_loading import import_string

from .arguments import did_you_mean


@dataclass(frozen=True, slots=True)
class Conf:
    encryption_keys: tuple[str, ...] = ()
    """Fernet keys: the first encrypts, all decrypt. Empty: derived from SECRET_KEY and its fallbacks."""
    allowed_api_bases: tuple[str, ...] = ()
    """URL prefixes inside the host's network that a provider's ``api_base`` may use."""
    max_file_bytes: int = 20 * 1024 * 1024
    """Of one file that goes along with a question."""
    max_files: int = 20
    """In one run."""
    max_tool_result_chars: int = 60_000
    """Of what a tool returns; more is left out with a note of how much."""
    max_tool_calls_per_round: int = 32
    """How many tool calls of one answer are made. The others are answered with an error."""
    approval_ttl_hours: int = 72
    """How long a tool call waits for a person's approval. Then maintenance ends its run."""
    background_retries: int = 5
    """How often a run in the background is tried again after a fault that may pass."""
    session_ttl_days: int | None = None
    """Conversations that were idle for longer are deleted by maintenance. None: never."""
    api_permission: Callable[[Any, str], bool] | None = None
    """Who may call an agent over HTTP: a callable ``(request, agent_name)``, or its dotted path. None: any user who
    is logged in."""
    tenant_time_zone: str = "timezone"
    """Field of the tenant model that holds the name of the tenant's time zone."""


def read(raw: Any) -> tuple[Conf, list[str]]:
    """The settings, and a sentence for each thing that is wrong with them."""
    if not isinstance(raw, Mapping):
        return Conf(), [f"ZANGO_AI is a {type(raw).__name__}; make it a dict."]
    problems: list[str] = []
    known = {field.name.upper(): field.name for field in fields(Conf)}
    values: dict[str, Any] = {}
    for key, value in raw.items():
        if key not in known:
            meant = did_you_mean(str(key), known)
            problems.append(f"ZANGO_AI[{key!r}] is not a setting.{meant} Known: {', '.join(sorted(known))}.")
            continue
        try:
            values[known[key]] = _READERS[key](value)
        except ValueError as exc:
            problems.append(f"ZANGO_AI[{key!r}]: {exc}")
    return Conf(**values), problems


@lru_cache(maxsize=1)
def get_conf() -> Conf:
    conf, problems = read(getattr(settings, "ZANGO_AI", {}))
    if problems:
        raise ImproperlyConfigured(" ".join(problems))
    return conf


def _texts(value: Any) -> tuple[str, ...]:
    if isinstance(value, str) or not isinstance(value, (list, tuple)):
        raise ValueError("make it a list of strings.")
    if not all(isinstance(item, str) for item in value):
        raise ValueError("every item must be a string.")
    return tuple(value)


def _fernet_keys(value: Any) -> tuple[str, ...]:
    keys = _texts(value)
    for position, key in enumerate(keys, start=1):
        try:
            size = len(base64.urlsafe_b64decode(key))
        except (binascii.Error, ValueError):
            size = 0
        if size != 32:
            raise ValueError(
                f"key number {position} is not a Fernet key (32 bytes in URL-safe base64). Make one with "
                "cryptography.fernet.Fernet.generate_key()."
            )
    return keys


def _url_prefixes(value: Any) -> tuple[str, ...]:
    prefixes = _texts(value)
    for prefix in prefixes:
        parts = urlsplit(prefix)
        _ = parts.port  # raises ValueError for one that cannot be
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise ValueError(f"{prefix!r} is not a URL such as http://localhost:11434.")
    return prefixes


def _count(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ValueError("make it a whole number from 1.")
    return value


def _count_from_zero(value: Any) -> int:
    return 0 if value == 0 and not isinstance(value, bool) else _count(value)


def _result_chars(value: Any) -> int:
    if _count(value) < 1_000:
        raise ValueError("make it 1000 at least.")
    return int(value)


def _attribute(value: Any) -> str:
    if not isinstance(value, str) or not value.isidentifier():
        raise ValueError("make it the name of a field of your tenant model.")
    return value


def _callable(value: Any) -> Callable[..., Any] | None:
    if isinstance(value, str):
        try:
            value = import_string(value)
        except ImportError as exc:
            raise ValueError(f"{value!r} cannot be imported ({exc}).") from None
    if value is not None and not callable(value):
        raise ValueError("make it a callable, or the dotted path of one.")
    return value  # type: ignore[no-any-return]


_READERS: dict[str, Callable[[Any], Any]] = {
    "ENCRYPTION_KEYS": _fernet_keys,
    "ALLOWED_API_BASES": _url_prefixes,
    "MAX_FILE_BYTES": _count,
    "MAX_FILES": _count,
    "MAX_TOOL_RESULT_CHARS": _result_chars,
    "MAX_TOOL_CALLS_PER_ROUND": _count,
    "APPROVAL_TTL_HOURS": _count,
    "BACKGROUND_RETRIES": _count_from_zero,
    "SESSION_TTL_DAYS": lambda value: None if value is None else _count(value),
    "API_PERMISSION": _callable,
    "TENANT_TIME_ZONE": _attribute,
}


@receiver(setting_changed)
def _forget(*, setting: str, **kwargs: Any) -> None:
    if setting in {"ZANGO_AI", "SECRET_KEY", "SECRET_KEY_FALLBACKS"}:
        get_conf.cache_clear()
