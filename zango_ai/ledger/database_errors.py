"""Which database errors may be temporary."""

from __future__ import annotations

from django.db import InterfaceError, OperationalError

from ..database import writer

_LOCK_NOT_AVAILABLE = "55P03"


def may_be_temporary(exc: Exception) -> bool:
    """Whether writing again may succeed, because the database is away.

    False for a lock timeout: the caller itself may hold that lock.
    """
    if writer.is_in_test_transaction() or getattr(exc.__cause__, "sqlstate", None) == _LOCK_NOT_AVAILABLE:
        return False
    return isinstance(exc, (OperationalError, InterfaceError))
