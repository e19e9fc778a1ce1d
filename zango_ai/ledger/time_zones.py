"""The time zone of each tenant. Budget months start at the tenant's own midnight."""

from __future__ import annotations

import logging
import time
from datetime import date, datetime, tzinfo
from typing import Any
from zoneinfo import ZoneInfo

from django.core.exceptions import FieldDoesNotExist
from django.db import Error
from django.utils import timezone

from .. import tenancy
from ..conf import get_conf
from ..database import reads
from ..database.sql import table
from . import clock

logger = logging.getLogger("zango_ai.time_zones")

_CACHE_S = 60.0
_cache: dict[tuple[str, str], tuple[float, tzinfo]] = {}


def of(schema: str) -> tzinfo:
    """The tenant's time zone, from the field of its row that ``ZANGO_AI["TENANT_TIME_ZONE"]`` names.

    The project's ``TIME_ZONE`` if there are no tenants, if they have no such field, or if it holds no time zone.
    Cached for a minute.
    """
    field = get_conf().tenant_time_zone
    entry = _cache.get((schema, field))
    if entry is None or entry[0] < time.monotonic():
        entry = _cache[schema, field] = (time.monotonic() + _CACHE_S, _read(schema, field))
    return entry[1]


def date_of(moment: datetime, schema: str) -> date:
    """The date of an aware datetime in the tenant's time zone."""
    return moment.astimezone(of(schema)).date()


def now_and_today(schema: str) -> dict[str, datetime | date]:
    """``now`` and ``today`` in the tenant's time zone, as parameters of a statement that ends runs."""
    now = clock.now()
    return {"now": now, "today": date_of(now, schema)}


def _read(schema: str, field: str) -> tzinfo:
    model = tenancy.tenant_model()
    if model is None:
        return timezone.get_default_timezone()
    try:
        column: Any = model._meta.get_field(field)
        if column.model is not model._meta.get_field("schema_name").model:  # multi-table inheritance
            names = model._base_manager.filter(schema_name=schema).values_list(field, flat=True)
            return _to_time_zone(schema, next(iter(names), None))
        sql = f"""
SELECT "{column.column}" FROM {table(tenancy.public_schema(), column.model)} WHERE schema_name = %(schema)s
"""
        rows = reads.rows(sql, {"schema": schema})
    except FieldDoesNotExist:
        return timezone.get_default_timezone()
    except Error:
        logger.exception("Could not read the time zone of tenant %s; using TIME_ZONE", schema)
        return timezone.get_default_timezone()
    name = rows[0][0] if rows else None
    convert = getattr(column, "from_db_value", None)
    return _to_time_zone(schema, name if convert is None else convert(name, None, tenancy.connection()))


def _to_time_zone(schema: str, value: Any) -> tzinfo:
    if isinstance(value, tzinfo):
        return value
    if value:
        try:
            return ZoneInfo(str(value))
        except (ValueError, OSError, LookupError):  # ZoneInfo opens a file with that name
            logger.warning("Tenant %s has no valid time zone; using TIME_ZONE", schema)
    return timezone.get_default_timezone()
