"""The list of invocations: its columns, its grouping by session, and the rounds that unfold below a row."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from django.contrib import admin
from django.db.models import Prefetch, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.template.response import TemplateResponse
from django.urls import URLPattern
from django.utils import formats as django_formats
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _

from ..ledger import run_filters, usage
from ..models import Invocation, InvocationRound, ToolCall
from . import components, formats, invented_tools, log_filters
from .access import ViewOnly
from .log_pagination import LogChangeList
from .panel import PanelAdmin

_GROUP = "group"
_LISTS = ("zango_ai_invocation_changelist", "zango_ai_invocation_export")
"""The views that read many runs."""
_EXPORTS = (("csv", _("CSV, for a spreadsheet")), ("jsonl", _("JSON Lines, for programs")))
_TEXTS = ("rendered_user_prompt", "response_content", "error_message", "payload_removed_at")
_ROUND_COLUMNS = (
    *("invocation_id", "number", "provider_name", "model", "status", "error_type", "stop_reason", "input_tokens"),
    *("output_tokens", "cost_usd", "charged_usd", "latency_ms"),
)


@dataclass(slots=True)
class SessionGroup:
    """The runs of one session on a page of the list."""

    agent_name: str
    session_id: str | None
    """None for the runs without a session."""
    runs: list[Invocation] = field(default_factory=list)

    @property
    def cost_usd(self) -> Decimal:
        """Of the runs whose cost is known."""
        return sum((run.cost_usd or Decimal(0) for run in self.runs), Decimal(0))


class InvocationChangeList(LogChangeList):
    """``?group=session`` brings the runs of a session on the page together."""

    opened: Mapping[int, SessionGroup] = {}
    """The groups by the primary key of their first run."""

    @property
    def is_grouped(self) -> bool:
        return self.params.get(_GROUP) == "session"

    @property
    def group_link(self) -> str:
        """The link that turns the grouping on or off."""
        return (
            self.get_query_string(remove=[_GROUP])
            if self.is_grouped
            else self.get_query_string({_GROUP: "session"})
        )

    @property
    def filter_query(self) -> str:
        """The filters and the search, as the export takes them."""
        return self.get_query_string(remove=[_GROUP])

    def get_filters_params(self, params: Any = None) -> Any:
        return {name: value for name, value in super().get_filters_params(params).items() if name != _GROUP}

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        if self.is_grouped:
            groups = group_by_session(self.result_list)
            self.result_list = [run for group in groups for run in group.runs]
            self.opened = {group.runs[0].pk: group for group in groups}


def group_by_session(runs: Iterable[Invocation]) -> list[SessionGroup]:
    """The runs by session, the session with the newest run first. Runs without one come last."""
    groups: dict[Any, SessionGroup] = {}
    for run in runs:
        key = None if run.session_id is None else (run.agent_name, run.session_id)
        groups.setdefault(key, SessionGroup(run.agent_name, run.session_id)).runs.append(run)
    return sorted(groups.values(), key=lambda group: group.session_id is None)


class InvocationColumns:
    """The columns of the list."""

    @admin.display(description=_("time"))
    def time(self, run: Invocation) -> SafeString:
        moment = run.started_at or run.created_at
        local = timezone.localtime(moment) if timezone.is_aware(moment) else moment
        day = django_formats.date_format(local, "j M" if local.year == timezone.localdate().year else "j M Y")
        exact = django_formats.date_format(local, "DATETIME_FORMAT")
        return format_html(
            '<time datetime="{}" title="{}">{} <span>{}</span></time>',
            moment.isoformat(),
            exact,
            day,
            django_formats.time_format(local, "H:i:s"),
        )

    @admin.display(description=_("agent"))
    def agent_title(self, run: Invocation) -> SafeString | str:
        if run.agent_name:
            return run.agent_name
        return format_html('<span class="za-quiet">{}</span>', gettext("direct call"))

    @admin.display(description=_("provider / model"))
    def target(self, run: Invocation) -> SafeString:
        return format_html(
            '<span class="za-two"><span>{}</span><span class="za-mono za-quiet">{}</span></span>',
            run.provider_name or formats.NOTHING,
            run.model or formats.NOTHING,
        )

    @admin.display(description=_("tokens in / out"))
    def tokens(self, run: Invocation) -> str:
        return f"{formats.short_count(run.input_tokens)} / {formats.short_count(run.output_tokens)}"

    @admin.display(description=_("cost"))
    def cost(self, run: Invocation) -> str:
        return formats.usd(run.cost_usd)

    @admin.display(description=_("latency"))
    def latency(self, run: Invocation) -> str:
        return formats.latency(run.latency_ms)

    @admin.display(description=_("trigger"))
    def trigger(self, run: Invocation) -> str:
        return run.get_triggered_by_display()

    @admin.display(description=_("status"))
    def badge(self, run: Invocation) -> SafeString:
        return components.badge(run.status, run.get_status_display())


class InvocationList(InvocationColumns, PanelAdmin, ViewOnly, admin.ModelAdmin):
    """The part of ``InvocationAdmin`` that lists runs."""

    panel_lead = _(
        "Every run: what was sent and answered, and what it cost. Search by ID, run ID, session or user."
    )
    list_display = (
        *("id", "time", "agent_title", "target", "tokens", "cost", "latency", "trigger", "badge"),
        "rounds_link",
    )
    list_display_links = ("id",)
    list_filter = log_filters.LIST_FILTERS
    list_per_page = 50
    search_fields = ("run_id",)  # get_search_results() has the others
    sortable_by = ()
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER
    change_list_template = "admin/zango_ai/invocation/change_list.html"

    def panel_urls(self) -> list[URLPattern]:
        rounds = self.panel_path("<int:pk>/rounds/", self.rounds_view, "invocation_rounds")
        return [rounds, *super().panel_urls()]

    @admin.display(description=_("rounds"))
    def rounds_link(self, run: Invocation) -> SafeString:
        label = ngettext("%(count)d round", "%(count)d rounds", run.rounds_count) % {"count": run.rounds_count}
        return format_html(
            '<a class="za-unfold" href="{}" data-za-unfold="{}"><span class="visually-hidden">{}</span>'
            '<span aria-hidden="true">{}</span>{}</a>',
            self.panel_url("invocation_change", run.pk),
            self.panel_url("invocation_rounds", run.pk),
            label,
            run.rounds_count,
            components.icon("chevron-down"),
        )

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[LogChangeList]:
        return InvocationChangeList

    def get_queryset(self, request: HttpRequest) -> QuerySet[Invocation]:
        rows: QuerySet[Invocation] = super().get_queryset(request)
        is_list = request.resolver_match and request.resolver_match.url_name in _LISTS
        return rows.only(*log_filters.LIST_COLUMNS) if is_list else rows

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Invocation], search_term: str
    ) -> tuple[QuerySet[Invocation], bool]:
        term = search_term.strip()
        return (run_filters.search(queryset, term) if term else queryset), False

    def panel_list_context(self, request: HttpRequest) -> dict[str, Any]:
        header = usage.header()
        return {
            "figures": [
                (_("Runs"), formats.count(header.runs)),
                (_("Today"), formats.count(header.runs_today)),
                (_("Errors in 24 h"), formats.count(header.errors_24h)),
                (_("Cost today"), formats.usd(header.cost_today_usd)),
            ],
            "exports": [(self.panel_url("invocation_export", kind), label) for kind, label in _EXPORTS],
        }

    def rounds_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """The rounds of a run, as the piece of HTML that unfolds below its row."""
        may_read = request.user.has_perm("zango_ai.view_payload")
        run = get_object_or_404(
            Invocation.objects.only(*log_filters.LIST_COLUMNS, *(_TEXTS if may_read else ())), pk=pk
        )
        calls = ToolCall.objects.only("round_id", "position", "tool_name", "status").order_by("position")
        rounds = list(run.rounds.only(*_ROUND_COLUMNS).prefetch_related(Prefetch("tool_calls", calls)))
        if not may_read:
            invented_tools.hide(rounds)
        context = {"run": run, "rounds": rounds, "may_read": may_read}
        request.current_app = self.admin_site.name
        return TemplateResponse(request, "admin/zango_ai/invocation/rounds.html", context)


def rows_with_groups(changelist: Any, rows: Iterable[Any]) -> Iterator[tuple[SessionGroup | None, Any]]:
    """The rendered rows of a change list, each with the group that it opens or None."""
    for run, row in zip(changelist.result_list, rows, strict=True):
        yield changelist.opened.get(run.pk), row


def round_cost(row: InvocationRound) -> str:
    """What a round costs; if that is unknown, what the budgets were charged."""
    if row.cost_usd is None and row.charged_usd:
        return gettext("unknown (charged as %(charged)s)") % {"charged": formats.usd(row.charged_usd)}
    return formats.usd(row.cost_usd)
