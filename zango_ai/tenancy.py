"""Which tenant is active. The only module that knows django-tenants."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import tzinfo
from importlib import import_module
from typing import cast
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from django.conf import settings
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.utils import timezone
from django_tenants.utils import (
    get_public_schema_name,
    get_tenant_database_alias,
    get_tenant_model,
    schema_context,
)

from .conf import get_conf

logger = logging.getLogger("zango_ai.tenancy")


def connection() -> BaseDatabaseWrapper:
    """The caller's own connection to the tenants' database: its transaction, its schema."""
    return connections[get_tenant_database_alias()]


def current_schema() -> str:
    """Name of the schema in force in this thread; the public schema's where no tenant is active."""
    return str(connection().schema_name)  # type: ignore[attr-defined]  # django-tenants' wrapper has it


def is_public(schema: str) -> bool:
    return schema == str(get_public_schema_name())


def quote(schema: str) -> str:
    """``schema`` as an SQL identifier."""
    # Django's quote_name() leaves a quotation mark inside as it is.
    return '"{}"'.format(schema.replace('"', '""'))


def plain_backend() -> type[BaseDatabaseWrapper]:
    """The database backend that django-tenants builds on: it sets no search path at each cursor."""
    name = getattr(settings, "ORIGINAL_BACKEND", "django.db.backends.postgresql")
    return cast(type[BaseDatabaseWrapper], import_module(f"{name}.base").DatabaseWrapper)


def tenant_schemas() -> list[str]:
    """Names of all tenants' schemas, in order."""
    rows = get_tenant_model().objects.exclude(schema_name=get_public_schema_name())
    return list(rows.order_by("schema_name").values_list("schema_name", flat=True))


def time_zone(schema: str) -> tzinfo:
    """Where the tenant is: what its row says, in the attribute that ``ZANGO_AI["TENANT_TIME_ZONE"]`` names.

    The project's ``TIME_ZONE`` where the tenants have no such attribute, or nothing in it. Read once a minute.
    """
    attribute = get_conf().tenant_time_zone
    known = _zones.get((schema, attribute))
    if known is None or known[0] < time.monotonic():
        known = _zones[schema, attribute] = (time.monotonic() + _ZONE_KEPT_S, _read_zone(schema, attribute))
    return known[1]


_ZONE_KEPT_S = 60.0
_zones: dict[tuple[str, str], tuple[float, tzinfo]] = {}


def _read_zone(schema: str, attribute: str) -> tzinfo:
    if not hasattr(get_tenant_model(), attribute):
        return timezone.get_default_timezone()
    tenant = getattr(connection(), "tenant", None)
    if not (isinstance(tenant, get_tenant_model()) and tenant.schema_name == schema):
        tenant = get_tenant_model().objects.filter(schema_name=schema).first()
    named = getattr(tenant, attribute, None)
    if isinstance(named, tzinfo):
        return named
    try:
        return ZoneInfo(str(named)) if named else timezone.get_default_timezone()
    except (ValueError, ZoneInfoNotFoundError):
        logger.warning("Tenant %s has no known time zone in %s; TIME_ZONE is used.", schema, attribute)
        return timezone.get_default_timezone()


@contextmanager
def active(schema: str) -> Iterator[None]:
    """Make ``schema`` the one in force, and put back the one that was."""
    with schema_context(schema):
        yield
