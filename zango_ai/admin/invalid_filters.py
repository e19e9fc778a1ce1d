"""Filters in an address that are invalid: what is wrong, and what to do."""

from __future__ import annotations

from typing import Any

from django.contrib.admin.options import IncorrectLookupParameters
from django.http import HttpRequest
from django.utils.translation import gettext


class InvalidFilter(IncorrectLookupParameters):
    """The value of a filter is invalid. The message is for the user."""

    def __init__(self, title: Any, value: str, expected: Any) -> None:
        shown = {"title": title, "value": value[:100], "expected": expected}
        super().__init__(gettext('The filter "%(title)s" cannot be "%(value)s". Use %(expected)s.') % shown)


def problem_of(exc: IncorrectLookupParameters) -> str:
    """The message for the user, also if Django has refused the filters."""
    if isinstance(exc, InvalidFilter):
        return str(exc)
    return gettext("The filters in the address are invalid. Choose them in the list.")


def has_nul(request: HttpRequest) -> bool:
    """Whether the address has a NUL, which no text in PostgreSQL has."""
    return any("\0" in text for name, values in request.GET.lists() for text in (name, *values))
