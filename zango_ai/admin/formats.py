"""Numbers, money, durations and times as staff read them."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

from django.utils import formats, timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.timesince import timesince, timeuntil
from django.utils.translation import gettext

NOTHING = "\N{EN DASH}"
"""Shown where there is no value."""

_THOUSANDS = ((1_000_000_000, "B"), (1_000_000, "M"), (10_000, "k"))


def in_language(number: str) -> str:
    """A number that Python has written, with the separators of the active language: ``1.234,5`` in German."""
    point, comma = formats.get_format("DECIMAL_SEPARATOR"), formats.get_format("THOUSAND_SEPARATOR")
    return number.translate({ord("."): point, ord(","): comma})


def usd(amount: Decimal | float | None) -> str:
    """Dollars, as precise as the amount is small: ``$1,250.00``, ``$0.0021``, ``<$0.0001``."""
    if amount is None:
        return gettext("unknown")
    value = Decimal(amount)
    if 0 < value < Decimal("0.0001"):
        return in_language("<$0.0001")
    if value == 0 or abs(value) >= 1:
        return in_language(f"${value:,.2f}")
    return in_language(f"${value:.4f}".removesuffix("00"))


def count(number: int | None) -> str:
    """A whole number with thousands separators: ``12,345``."""
    return NOTHING if number is None else in_language(f"{number:,}")


def short_count(number: int | None) -> str:
    """A large number in a few characters: ``9,310``, ``12.3k``, ``4.1M``."""
    if number is None:
        return NOTHING
    for size, unit in _THOUSANDS:
        if number >= size:
            scale = 1_000 if unit == "k" else size
            return in_language(f"{number / scale:,.1f}") + unit
    return in_language(f"{number:,}")


def latency(milliseconds: float | None) -> str:
    """A duration: ``840 ms``, ``2.7 s``, ``3 min 5 s``."""
    if milliseconds is None:
        return NOTHING
    if milliseconds < 1000:
        return f"{milliseconds:.0f} ms"
    seconds = milliseconds / 1000
    if seconds < 60:
        return in_language(f"{seconds:.1f} s")
    minutes, rest = divmod(round(seconds), 60)
    return gettext("%(minutes)d min %(seconds)d s") % {"minutes": minutes, "seconds": rest}


def percent(part: float | None, whole: float | None = 100) -> str:
    """``part`` of ``whole``: ``98.2%``. Nothing of nothing has no percentage."""
    if part is None or not whole:
        return NOTHING
    share = 100 * float(part) / float(whole)
    return f"{share:.0f}%" if share == round(share) else in_language(f"{share:.1f}%")


def when(moment: datetime | None) -> SafeString | str:
    """How long ago, or in how long, with the exact local time as a tooltip."""
    if moment is None:
        return NOTHING
    exact = formats.date_format(timezone.localtime(moment), "DATETIME_FORMAT")
    seconds = (timezone.now() - moment).total_seconds()
    if abs(seconds) < 60:
        text = gettext("just now")
    elif seconds > 0:
        text = gettext("%(time)s ago") % {"time": timesince(moment, depth=1)}
    else:
        text = gettext("in %(time)s") % {"time": timeuntil(moment, depth=1)}
    return format_html('<time datetime="{}" title="{}">{}</time>', moment.isoformat(), exact, text)
