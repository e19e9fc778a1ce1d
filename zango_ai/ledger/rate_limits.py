"""Limits per minute, by the generic cell rate algorithm (GCRA, ITU-T I.371). Its SQL is in ``sql/rate_limits.py``.

A limit of n per minute lets n requests pass at once, then one every 60/n seconds. Each request uses a share of the
minute's allowance, measured in seconds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ..database import writer
from ..database.sql import table
from ..models import RateLimitState
from . import clock

_TOLERANCE_S = 0.001
"""n shares of a minute may add up to more than a minute, because each is rounded to microseconds."""


@dataclass(frozen=True, slots=True)
class RateLimitShare:
    """What one call uses of one limit per minute."""

    key: str
    """Of the limit's row."""
    description: str
    """Whose limit it is and how much it allows, for messages."""
    per_minute: int
    share_s: float
    """The seconds of the minute's allowance that the call uses."""
    counts_tokens: bool = False


def share_s(amount: int, per_minute: int) -> float:
    """The seconds of the minute's allowance that ``amount`` requests or tokens use.

    A call that is larger than the whole allowance reserves all of it. Its real usage is charged when it is known.
    """
    return min(amount, per_minute) * 60 / per_minute


def parameters(shares: Sequence[RateLimitShare]) -> dict[str, Any]:
    """The parameters of ``check_limits()`` and ``charge_limits()``."""
    return {
        "limit_keys": [share.key for share in shares],
        "limit_shares": [share.share_s for share in shares],
        "limits_per_minute": [share.per_minute for share in shares],
        "tolerance_s": _TOLERANCE_S,
    }


def insert_missing(schema: str, shares: Sequence[RateLimitShare]) -> None:
    """Insert the rows of limits that are used for the first time."""
    sql = f"""
INSERT INTO {table(schema, RateLimitState)} (key, per_minute, created_at, updated_at)
SELECT w.key, w.per_minute, %(now)s, %(now)s
FROM unnest(%(limit_keys)s::text[], %(limits_per_minute)s::int[]) AS w(key, per_minute)
ORDER BY w.key ON CONFLICT DO NOTHING
"""
    arguments = {
        "limit_keys": [share.key for share in shares],
        "limits_per_minute": [share.per_minute for share in shares],
        "now": clock.now(),
    }
    writer.execute(sql, arguments)
