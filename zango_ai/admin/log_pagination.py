"""A list of log rows that takes the same time for a thousand rows and for millions.

Rows are always sorted by primary key, newest first. A page is found by the key of a row (``?before=`` or
``?after=``), never by its number, and nothing is counted.
"""

from __future__ import annotations

from typing import Any

from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.admin.views.main import ChangeList
from django.core.paginator import Paginator
from django.db.models import QuerySet
from django.http import HttpRequest

_CURSORS = ("before", "after")


class LogChangeList(ChangeList):
    """``older`` and ``newer`` are the links to the neighbour pages, or None. ``result_count`` counts this page."""

    older: str | None = None
    newer: str | None = None

    def get_ordering(self, request: HttpRequest, queryset: QuerySet[Any]) -> list[Any]:
        return ["-pk"]

    def get_filters_params(self, params: Any = None) -> Any:
        chosen = super().get_filters_params(params)
        if any("\0" in text for values in chosen.values() for text in values):
            raise IncorrectLookupParameters("PostgreSQL has no text with NUL.")
        return {name: value for name, value in chosen.items() if name not in _CURSORS}

    def get_query_string(self, new_params: Any = None, remove: Any = None) -> str:
        """Links of filters lead to the first page."""
        return super().get_query_string(new_params, [*(remove or []), *(set(_CURSORS) - set(new_params or {}))])

    def get_results(self, request: HttpRequest) -> None:
        before, after = (_key(self.params.get(name)) for name in _CURSORS)
        size = self.list_per_page
        if after is not None:
            found = list(self.queryset.filter(pk__gt=after).order_by("pk")[: size + 1])
            rows = found[:size][::-1]
            has_older, has_newer = True, len(found) > size
        else:
            found = list((self.queryset if before is None else self.queryset.filter(pk__lt=before))[: size + 1])
            rows = found[:size]
            has_older, has_newer = len(found) > size, before is not None
        if rows and has_older:
            self.older = self.get_query_string({"before": rows[-1].pk})
        if rows and has_newer:
            self.newer = self.get_query_string({"after": rows[0].pk})
        self._set_results(rows)

    def _set_results(self, rows: list[Any]) -> None:
        """What Django's templates expect of a list that has one page."""
        self.result_list, self.result_count = rows, len(rows)
        self.full_result_count, self.show_full_result_count = len(rows), False
        self.show_admin_actions, self.can_show_all, self.multi_page = True, False, False
        self.paginator = Paginator(rows, self.list_per_page)


def _key(value: Any) -> int | None:
    """The primary key in a URL; None if it is missing or invalid."""
    text = str(value or "")
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 19 else None
