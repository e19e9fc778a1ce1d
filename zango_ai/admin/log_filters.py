"""Filters of the list of invocations. Each uses an index, and none reads the log to find its choices."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any, cast

from django.contrib import admin
from django.db.models import Q
from django.http import HttpRequest
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from .. import tenancy
from ..ledger import clock, time_zones
from ..ledger.run_filters import Runs, created_between, day_of, is_in_order, is_text
from ..models import UsageRollup
from .invalid_filters import InvalidFilter

LIST_COLUMNS = (
    *("run_id", "agent_name", "provider_name", "model", "status", "triggered_by", "session_id", "user_ref"),
    *("input_tokens", "output_tokens", "cost_usd", "latency_ms", "rounds_count", "error_type"),
    *("created_at", "started_at", "finished_at"),
)
"""What a list reads of a run, for ``only()``. All other columns may be long texts."""

_DAYS = ("created_from", "created_to")


class _UsageFilter(admin.SimpleListFilter):
    """A column whose values the usage roll-up knows."""

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        known = UsageRollup.objects.filter(day=UsageRollup.ALL_TIME).exclude(**{self._column: ""})
        names = {*known.values_list(self._column, flat=True), self.value() or ""} - {""}
        return [(name, name) for name in sorted(names)]

    def queryset(self, request: HttpRequest, queryset: Runs) -> Runs:
        return queryset.filter(**{self._column: self.value()}) if self.value() else queryset

    @property
    def _column(self) -> str:
        return str(self.parameter_name)


class AgentFilter(_UsageFilter):
    title, parameter_name = _("agent"), "agent_name"


class ProviderFilter(_UsageFilter):
    title, parameter_name = _("provider"), "provider_name"


class ModelFilter(_UsageFilter):
    title, parameter_name = _("model"), "model"


class _ChoiceFilter(admin.SimpleListFilter):
    """One of few values."""

    def queryset(self, request: HttpRequest, queryset: Runs) -> Runs:
        chosen, known = self.value(), [str(value) for value, _label in self.lookup_choices]
        if not chosen:
            return queryset
        if chosen not in known:
            raise InvalidFilter(self.title, chosen, ", ".join(known))
        return queryset.filter(self._condition(chosen))

    def _condition(self, chosen: str) -> Q:
        raise NotImplementedError


class ColumnFilter(admin.ChoicesFieldListFilter):
    """A column with choices."""

    def queryset(self, request: HttpRequest, queryset: Runs) -> Runs:
        known = [str(value) for value, _label in self.field.flatchoices]
        for value in request.GET.getlist(self.lookup_kwarg):
            if value not in known:
                raise InvalidFilter(self.title, value, ", ".join(known))
        return cast(Runs, super().queryset(request, queryset))


class MemoryFilter(_ChoiceFilter):
    title, parameter_name = _("memory"), "memory"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [("yes", _("In a conversation")), ("no", _("Without memory"))]

    def _condition(self, chosen: str) -> Q:
        return Q(session_id__isnull=chosen == "no")


class ReplayFilter(_ChoiceFilter):
    title, parameter_name = _("replays"), "replays"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [("no", _("Without replays")), ("only", _("Only replays"))]

    def _condition(self, chosen: str) -> Q:
        return Q(replay_of__isnull=chosen == "no")


@dataclass(frozen=True, slots=True)
class Field:
    """An input in the menu of a filter."""

    name: str
    label: Any
    value: str
    type: str = "text"


class _TextFilter(admin.SimpleListFilter):
    """Set by a link, or typed into the filter's menu."""

    def has_output(self) -> bool:
        return True

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        text = self.value()
        return [(text, text)] if text else []

    def form_fields(self) -> list[Field]:
        """The inputs in the filter's menu."""
        return [Field(str(self.parameter_name), _("Exactly"), self.value() or "")]

    def queryset(self, request: HttpRequest, queryset: Runs) -> Runs:
        text = self.value()
        if not text:
            return queryset
        return queryset.none() if "\0" in text else queryset.filter(is_text(str(self.parameter_name), text))


class SessionFilter(_TextFilter):
    title, parameter_name = _("session"), "session_id"


class UserFilter(_TextFilter):
    title, parameter_name = _("user"), "user_ref"


class DateFilter(admin.SimpleListFilter):
    """``?created=7`` for the last seven days, or ``?created=2026-11-01..2026-11-30``. Each side may be empty.

    The form in its menu sends the two days as ``created_from`` and ``created_to``.
    """

    title, parameter_name = _("date"), "created"

    def __init__(self, request: HttpRequest, params: dict[str, Any], model: Any, model_admin: Any) -> None:
        days = [(params.pop(name, None) or [""])[-1] for name in _DAYS]
        if any(days):
            params["created"] = ["..".join(days)]
        super().__init__(request, params, model, model_admin)

    def expected_parameters(self) -> list[str | None]:
        return ["created", *_DAYS]

    def choices(self, changelist: Any) -> Iterator[Any]:
        """Links that also remove what the form has sent: Django removes parameters by their prefix."""
        chosen = self.value()
        yield {
            "selected": not chosen,
            "query_string": changelist.get_query_string(remove=["created"]),
            "display": gettext("All"),
        }
        for value, label in self.lookup_choices:
            link = changelist.get_query_string({"created": value}, remove=["created"])
            yield {"selected": chosen == value, "query_string": link, "display": label}

    def form_fields(self) -> list[Field]:
        """The inputs in the filter's menu."""
        days = _days(self.value() or "") or (None, None)
        labels = (gettext("From"), gettext("To"))
        values = ["" if day is None else day.isoformat() for day in days]
        return [Field(*each, "date") for each in zip(_DAYS, labels, values, strict=True)]

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        ranges = [("1", _("Today")), ("7", _("Last 7 days")), ("30", _("Last 30 days"))]
        chosen = self.value() or ""
        days = None if chosen in dict(ranges) else _days(chosen)
        return ranges if days is None else [*ranges, (chosen, _days_label(*days))]

    def queryset(self, request: HttpRequest, queryset: Runs) -> Runs:
        chosen = self.value()
        if not chosen:
            return queryset
        days = _days(chosen)
        if days is None:
            expected = gettext("1, 7 or 30 days, or a first and a last day such as 2026-11-01..2026-11-30")
            raise InvalidFilter(self.title, chosen, expected)
        return queryset.filter(created_between(*days))


def _days_label(first: date | None, last: date | None) -> str:
    if last is None:
        return gettext("From %(day)s") % {"day": first} if first else gettext("All")
    if first is None:
        return gettext("Until %(day)s") % {"day": last}
    return gettext("%(first)s to %(last)s") % {"first": first, "last": last}


def _days(text: str) -> tuple[date | None, date | None] | None:
    """The first and last day of a range in a URL. None if there is none, or if it is invalid."""
    today = time_zones.date_of(clock.now(), tenancy.current_schema())
    if text in ("1", "7", "30"):
        return today - timedelta(days=int(text) - 1), None
    first, separator, last = text.partition("..")
    try:
        days = day_of(first) if first else None, day_of(last) if last else None
    except ValueError:
        return None
    return days if separator and is_in_order(*days) else None


LIST_FILTERS = (
    *(("status", ColumnFilter), ("triggered_by", ColumnFilter)),
    *(AgentFilter, ProviderFilter, ModelFilter, MemoryFilter, DateFilter),
    *(SessionFilter, UserFilter, ReplayFilter),
)
