"""Months, minutes, estimates and dollars: the arithmetic of budgets and rate limits."""

from __future__ import annotations

import calendar
import math
import re
from collections.abc import Iterable
from datetime import date, timedelta
from decimal import Decimal

MAX_TIMEOUT_S = 86_400
"""A day, for one round or one call of a tool."""
MAX_TOKENS = 1_000_000
MAX_TOOL_ROUNDS = 100
MAX_REMEMBERED_TURNS = 1_000
MAX_OUTPUT_RETRIES = 5
MAX_RETRIES = 10
MAX_PER_MINUTE = 1_000_000_000
MAX_BUDGET_USD = 1_000_000_000
MAX_USD_PER_MTOK = 100_000
MAX_POSITION = 1_000
MAX_VERSIONS = 1_000_000

_LETTERS = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
_NO_LETTERS = bytes(set(range(256)) - set(_LETTERS))
_UNBROKEN = re.compile(rb"[A-Za-z0-9+/=_-]{40,}")
_PIECE = 1024 * 1024
_TOKENS_PER_MESSAGE = 8
_TOKENS_PER_REQUEST = 16


def month_start(today: date, reset_day: int) -> date:
    """The first day of the budget's month that ``today`` is in. Day 31 is the last of a shorter month."""
    this = _reset_in(today.year, today.month, reset_day)
    if today >= this:
        return this
    before = today.replace(day=1) - timedelta(days=1)
    return _reset_in(before.year, before.month, reset_day)


def next_month_start(start: date, reset_day: int) -> date:
    """When the month that began on ``start`` is over."""
    after = start.replace(day=1) + timedelta(days=32)
    return _reset_in(after.year, after.month, reset_day)


def _reset_in(year: int, month: int, reset_day: int) -> date:
    return date(year, month, min(reset_day, calendar.monthrange(year, month)[1]))


def prompt_tokens(texts: Iterable[str]) -> int:
    """How many tokens the texts may be at most, without the model's own tokenizer.

    A token for two letters, and one for each byte of anything else and of letters without a space for long (base64,
    genes). By the tokenizers of gpt-4o, gpt-3.5-turbo and Claude, prose has less than half as many.
    """
    each = (_TOKENS_PER_MESSAGE + text_tokens(text.encode("utf-8", "replace")) for text in texts)
    return _TOKENS_PER_REQUEST + sum(each)


def text_tokens(encoded: bytes) -> int:
    """The same for text in UTF-8, by itself."""
    pieces = (encoded[start : start + _PIECE] for start in range(0, len(encoded), _PIECE))
    return sum(map(_tokens_of_piece, pieces))


def _tokens_of_piece(encoded: bytes) -> int:
    others = len(encoded.translate(None, _LETTERS))
    unbroken = sum(len(found[0].translate(None, _NO_LETTERS)) for found in _UNBROKEN.finditer(encoded))
    return others + unbroken + math.ceil((len(encoded) - others - unbroken) / 2)


def taken_s(amount: int, per_minute: int) -> float:
    """How many seconds of the minute's allowance so much takes.

    A call that alone is larger than the allowance takes all of it: it waits for a full minute's allowance, and
    what it really uses is charged when it is known.
    """
    return min(amount, per_minute) * 60 / per_minute


def dollars(usd: Decimal) -> str:
    """To the cent, and as much further as there is something to show."""
    whole, _, places = f"{usd:,.8f}".partition(".")
    return f"${whole}.{places.rstrip('0').ljust(2, '0')}"
