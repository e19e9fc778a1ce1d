"""Where a tenant is: its months begin at its own midnight."""

from __future__ import annotations

import logging
import time
from datetime import tzinfo
from typing import Any
from zoneinfo import ZoneInfo

from django.core.exceptions import FieldDoesNotExist
from django.db import Error
from django.utils import timezone

from .. import tenancy
from ..conf import get_conf
from ..database import reads
from ..database.writer import table

logger = logging.getLogger("zango_ai.zones")

_KEPT_S = 60.0
_known: dict[tuple[str, str], tuple[float, tzinfo]] = {}


def of(schema: str) -> tzinfo:
    """What the tenant's row says, in the field that ``ZANGO_AI["TENANT_TIME_ZONE"]`` names; read once a minute.

    The project's ``TIME_ZONE`` where tenants have no such field, or nothing in it that is a time zone.
    """
    field = get_conf().tenant_time_zone
    known = _known.get((schema, field))
    if known is None or known[0] < time.monotonic():
        known = _known[schema, field] = (time.monotonic() + _KEPT_S, _read(schema, field))
    return known[1]


def _read(schema: str, field: str) -> tzinfo:
    model = tenancy.tenant_model()
    try:
        column: Any = model._meta.get_field(field)
        if column.model is not model._meta.get_field("schema_name").model:  # a row in two tables
            found = list(model._base_manager.filter(schema_name=schema).values_list(field))
            return _zone(schema, found[0][0] if found else None)
        sql = f"""
SELECT "{column.column}" FROM {table(tenancy.public_schema(), column.model)} WHERE schema_name = %(schema)s
"""
        found = reads.rows(sql, {"schema": schema})
    except FieldDoesNotExist:
        return timezone.get_default_timezone()
    except Error:
        logger.exception("The time zone of tenant %s cannot be read; TIME_ZONE is used", schema)
        return timezone.get_default_timezone()
    named = found[0][0] if found else None
    convert = getattr(column, "from_db_value", None)
    return _zone(schema, named if convert is None else convert(named, None, tenancy.connection()))


def _zone(schema: str, named: Any) -> tzinfo:
    if isinstance(named, tzinfo):
        return named
    if named:
        try:
            return ZoneInfo(str(named))
        except (ValueError, OSError, LookupError):  # ZoneInfo opens a file of that name
            logger.warning("Tenant %s has no known time zone; TIME_ZONE is used", schema)
    return timezone.get_default_timezone()
