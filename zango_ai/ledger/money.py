"""Amounts of money as text."""

from __future__ import annotations

from decimal import Decimal


def format_usd(usd: Decimal) -> str:
    """Dollars with two to eight decimal places: ``$1,250.00``, ``$0.00000125``."""
    whole, _, places = f"{usd:,.8f}".partition(".")
    return f"${whole}.{places.rstrip('0').ljust(2, '0')}"
