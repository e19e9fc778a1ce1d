"""What all tenants share: settings, database, time zones, file storage."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import uuid4
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from django.conf import settings
from django.core import checks
from django.core.files.base import ContentFile
from django.db import Error, NotSupportedError

from .. import tenancy
from ..models import InvocationFile
from .findings import Finding, Level, Scope, error, warning

_CHECKED_LATER = {"zango_ai.W003", "zango_ai.W005", "zango_ai.W008"}
"""System checks of tenants and of the queue. The doctor's own checks of them say more."""


def find_in_settings(scope: Scope) -> Iterator[Finding]:
    """The system checks of zango_ai, those for deployment included."""
    messages = checks.run_checks(tags=["zango_ai"], include_deployment_checks=True)
    for message in messages:
        if message.id in _CHECKED_LATER or message.is_silenced():
            continue
        level = Level.ERROR if message.level >= checks.ERROR else Level.WARNING
        yield Finding(str(message.id), level, "", str(message.msg), str(message.hint or ""))


def find_in_database(scope: Scope) -> Iterator[Finding]:
    connection = tenancy.connection()
    try:
        connection.ensure_connection()
    except NotSupportedError as exc:
        yield error("database.version", "", str(exc), "Upgrade the database server.")
        return
    except Error as exc:
        yield error(
            "database.unreachable",
            f"database {connection.alias}",
            f"Django cannot connect: {str(exc).strip()}",
            "Check DATABASES in the settings, and that the server is running.",
        )
        return
    pool = connection.settings_dict.get("OPTIONS", {}).get("pool")
    if connection.vendor == "postgresql" and not (connection.settings_dict["CONN_MAX_AGE"] != 0 or pool):
        yield from _short_connections()


def _short_connections() -> Iterator[Finding]:
    if settings.DEBUG:
        return
    yield warning(
        "database.conn_max_age",
        "CONN_MAX_AGE",
        "Each request opens a new connection to PostgreSQL, which makes every run about three times as slow.",
        "Set CONN_MAX_AGE to 60 in DATABASES, or use a pool.",
    )


def find_in_time_zones(scope: Scope) -> Iterator[Finding]:
    """Budgets begin at midnight in the tenant's time zone. On a system without data, only UTC is known."""
    name = settings.TIME_ZONE if settings.TIME_ZONE != "UTC" else "Europe/Berlin"
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError):
        yield error(
            "time_zones.missing",
            "",
            f"Python has no data of the time zone {name!r}, so budgets of tenants reset at the wrong time.",
            "Install the package tzdata: pip install tzdata",
        )


def find_in_storage(scope: Scope) -> Iterator[Finding]:
    """Whether the storage for copies of sent files takes a file."""
    storage = InvocationFile._meta.get_field("file").storage
    name = f"zango_ai-doctor-{uuid4().hex}"
    try:
        saved = storage.save(name, ContentFile(b"zango_ai_doctor"))
        storage.delete(saved)
    except Exception as exc:
        yield error(
            "storage.not_writable",
            "the default storage",
            f"A file could not be stored: {type(exc).__name__}: {exc}. The log keeps no copies of files.",
            "Let the process write to MEDIA_ROOT, or correct STORAGES['default'].",
        )
