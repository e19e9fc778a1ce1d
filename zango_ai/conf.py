"""The settings: the dict ``ZANGO_AI``, read into a frozen dataclass.

``read()`` reports every problem at once, for the system check. The rest of the package uses ``get_conf()``, which
raises ImproperlyConfigured instead.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured, ValidationError
from django.core.signals import setting_changed
from django.core.validators import validate_email
from django.dispatch import receiver
from django.utils.module_loading import import_string

from .argument_checks import did_you_mean

_MAX_DAYS = 36_500


@dataclass(frozen=True, slots=True)
class Conf:
    """The settings, with their defaults."""

    encryption_keys: tuple[str, ...] = ()
    """Fernet keys for credentials. The first key encrypts, all keys decrypt. Empty: derived from ``SECRET_KEY`` and
    ``SECRET_KEY_FALLBACKS``."""
    allowed_api_bases: tuple[str, ...] = ()
    """URL prefixes inside your own network that a provider's API base URL may use, such as
    ``http://localhost:11434``."""
    max_file_bytes: int = 20 * 1024 * 1024
    """Largest file that a run may send, in bytes. The default is 20 MiB."""
    max_files: int = 20
    """Largest number of files in one run."""
    max_tool_result_chars: int = 60_000
    """Longest result of a tool, in characters. Longer results are cut, with a note of how much was left out."""
    max_tool_calls_per_round: int = 32
    """How many tool calls of one answer are executed. The model is told that the others were not."""
    approval_ttl_hours: int = 72
    """How long a tool call waits for approval before maintenance ends its run."""
    approval_emails: tuple[str, ...] | Callable[[Any], Any] = ()
    """Who gets an e-mail when tool calls wait for approval: a list of addresses, or a callable or its dotted path
    that takes an ``ApprovalRequest`` and returns one. Empty: nobody."""
    site_url: str | Callable[[str], Any] = ""
    """The address of the site, for links in e-mails. ``{schema}`` stands for the tenant's schema:
    ``"https://{schema}.example.com"``. Or a callable ``(schema) -> address``. Empty: no links."""
    queue: str = "celery"
    """What executes background runs: ``"celery"``, or ``"tasks:<alias>"`` for a backend of Django Tasks."""
    background_retries: int = 5
    """How often a background run is retried after temporary errors."""
    session_ttl_days: int | None = None
    """After how many idle days maintenance deletes a conversation. None: never."""
    payload_ttl_days: int | None = None
    """After how many days maintenance removes the texts and files of a run. Tokens, cost and times stay. None:
    never."""
    invocation_ttl_days: int | None = None
    """After how many days maintenance deletes a run from the log. Monthly spending stays. None: never."""
    redact: Callable[[str], Any] | None = None
    """A callable ``(text) -> str``, or its dotted path, that is applied to each text before it is stored."""
    api_permission: Callable[[Any, str], bool] | None = None
    """Decides who may call agents over HTTP: a callable ``(request, agent_name) -> bool`` or its dotted path.
    None: any logged-in user."""
    resumable_chats: bool = False
    """Run chats of the HTTP API in a worker, so that a browser that reloads the page gets the rest of an answer. A
    client that disconnects no longer cancels the run."""
    tenant_time_zone: str = "timezone"
    """The field of your tenant model with the tenant's time zone, such as ``"Europe/Berlin"``. Budget months use
    it. If the field is missing or empty, or if there are no tenants, the project's ``TIME_ZONE`` is used."""


def read(raw: Any) -> tuple[Conf, list[str]]:
    """The settings, and a message for each problem with them."""
    if not isinstance(raw, Mapping):
        return Conf(), [f"ZANGO_AI must be a dict, not {type(raw).__name__}."]
    problems: list[str] = []
    known = {field.name.upper(): field.name for field in fields(Conf)}
    values: dict[str, Any] = {}
    for key, value in raw.items():
        if key not in known:
            suggestion = did_you_mean(str(key), known)
            names = ", ".join(sorted(known))
            problems.append(f"ZANGO_AI[{key!r}] is not a setting.{suggestion} Settings: {names}.")
            continue
        try:
            values[known[key]] = _READERS[key](value)
        except ValueError as exc:
            problems.append(f"ZANGO_AI[{key!r}]: {exc}")
    return Conf(**values), problems


@lru_cache(maxsize=1)
def get_conf() -> Conf:
    """The settings. Raises ImproperlyConfigured if any is invalid."""
    conf, problems = read(getattr(settings, "ZANGO_AI", {}))
    if problems:
        raise ImproperlyConfigured(" ".join(problems))
    return conf


def site_address(schema: str) -> str:
    """The address of a tenant's site, without a slash at its end. Empty if the settings do not tell."""
    site = get_conf().site_url
    address = site(schema) if callable(site) else site.replace("{schema}", schema)
    return str(address or "").rstrip("/")


def _texts(value: Any) -> tuple[str, ...]:
    if isinstance(value, str) or not isinstance(value, (list, tuple)):
        raise ValueError("must be a list of strings.")
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
                f"key number {position} is not a Fernet key (32 bytes in URL-safe base64). Generate one with "
                "cryptography.fernet.Fernet.generate_key()."
            )
    return keys


def _url_prefixes(value: Any) -> tuple[str, ...]:
    prefixes = _texts(value)
    for prefix in prefixes:
        parts = urlsplit(prefix)
        _ = parts.port  # raises ValueError for an invalid port
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise ValueError(f"{prefix!r} is not an HTTP URL. Example: http://localhost:11434.")
    return prefixes


def _count(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ValueError("must be a whole number, at least 1.")
    return value


def _days(value: Any) -> int | None:
    if value is not None and _count(value) > _MAX_DAYS:
        raise ValueError(f"must be at most {_MAX_DAYS}, or None to keep everything.")
    return value  # type: ignore[no-any-return]


def _count_from_zero(value: Any) -> int:
    return 0 if value == 0 and not isinstance(value, bool) else _count(value)


def _result_chars(value: Any) -> int:
    if _count(value) < 1_000:
        raise ValueError("must be at least 1000.")
    return int(value)


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError("must be True or False.")
    return value


def _queue(value: Any) -> str:
    if not isinstance(value, str) or not (value == "celery" or re.fullmatch("tasks:.+", value)):
        raise ValueError(
            "must be 'celery', or 'tasks:' and the alias of a backend in TASKS, such as 'tasks:default'."
        )
    return value


def _addresses(value: Any) -> tuple[str, ...] | Callable[[Any], Any]:
    if isinstance(value, str) or callable(value):
        if isinstance(value, str) and "@" in value:
            raise ValueError(f"must be a list of addresses, such as [{value!r}].")
        return _callable(value) or ()
    addresses = _texts(value)
    for address in addresses:
        try:
            validate_email(address)
        except ValidationError:
            raise ValueError(f"{address!r} is not an e-mail address.") from None
    return addresses


def _site_url(value: Any) -> str | Callable[[str], Any]:
    if isinstance(value, str) and ("/" in value or not value):
        _url_prefixes([value.replace("{schema}", "schema")] if value else [])
        return value
    return _callable(value) or ""


def _attribute(value: Any) -> str:
    if not isinstance(value, str) or not value.isidentifier():
        raise ValueError("must be the name of a field of the tenant model.")
    return value


def _callable(value: Any) -> Callable[..., Any] | None:
    if isinstance(value, str):
        try:
            value = import_string(value)
        except ImportError as exc:
            raise ValueError(f"{value!r} cannot be imported ({exc}).") from None
    if value is not None and not callable(value):
        raise ValueError("must be a callable or its dotted path.")
    return value  # type: ignore[no-any-return]


_READERS: dict[str, Callable[[Any], Any]] = {
    "ENCRYPTION_KEYS": _fernet_keys,
    "ALLOWED_API_BASES": _url_prefixes,
    "MAX_FILE_BYTES": _count,
    "MAX_FILES": _count,
    "MAX_TOOL_RESULT_CHARS": _result_chars,
    "MAX_TOOL_CALLS_PER_ROUND": _count,
    "APPROVAL_TTL_HOURS": _count,
    "APPROVAL_EMAILS": _addresses,
    "SITE_URL": _site_url,
    "QUEUE": _queue,
    "BACKGROUND_RETRIES": _count_from_zero,
    "SESSION_TTL_DAYS": _days,
    "PAYLOAD_TTL_DAYS": _days,
    "INVOCATION_TTL_DAYS": _days,
    "REDACT": _callable,
    "API_PERMISSION": _callable,
    "RESUMABLE_CHATS": _flag,
    "TENANT_TIME_ZONE": _attribute,
}


@receiver(setting_changed)
def _clear_conf(*, setting: str, **kwargs: Any) -> None:
    if setting in {"ZANGO_AI", "SECRET_KEY", "SECRET_KEY_FALLBACKS"}:
        get_conf.cache_clear()
