"""The approvals inbox: tool calls that wait for a person, and those that were decided."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import URLPattern
from django.utils import timezone
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from ..models import Invocation, Tool, ToolCall
from . import approval_arguments, components, panel
from .access import ViewOnly
from .panel import PanelAdmin
from .tool import safety_badge

if TYPE_CHECKING:
    from .approval_form import DecisionForm

_TEMPLATES = "admin/zango_ai/toolcall"
_PAGE_SIZE = 50
_VERDICTS = {"approved": _("approved"), "denied": _("denied"), "expired": _("expired")}


@dataclass(slots=True)
class CallCard:
    """One tool call, as the pages show it."""

    call: ToolCall
    is_readable: bool
    """Whether the user may read the arguments."""
    tool: Tool | None = None
    form: DecisionForm | None = None

    @property
    def title(self) -> str:
        """In words; the tool's name if there are none."""
        text = self.call.description
        return text if self.is_readable and text else self.call.tool_name

    @property
    def safety(self) -> SafeString | str:
        return "" if self.tool is None else safety_badge(self.tool)

    @property
    def is_expired(self) -> bool:
        return self.call.expires_at is not None and self.call.expires_at <= timezone.now()

    @property
    def arguments(self) -> list[approval_arguments.Argument]:
        schema = None if self.tool is None else self.tool.parameters_schema
        return approval_arguments.arguments_of(schema, self.call.arguments) if self.is_readable else []

    @property
    def executed_arguments(self) -> list[approval_arguments.Argument]:
        """What a person has changed, next to ``arguments``."""
        changed = self.call.approved_arguments if self.is_readable else None
        if not isinstance(changed, dict):
            return []
        names = set(approval_arguments.names_of_changes(self.call.arguments, changed))
        schema = None if self.tool is None else self.tool.parameters_schema
        return [each for each in approval_arguments.arguments_of(schema, changed) if each.name in names]

    @property
    def verdict(self) -> SafeString | str:
        name, _space, _reason = self.call.decision.partition(" ")
        if not name:
            return ""
        label = _VERDICTS.get(name, name)
        if self.call.approved_arguments is not None:
            label = _("approved with changes")
        return components.badge(name, label)

    @property
    def reason(self) -> str:
        return self.call.decision.partition(" ")[2] if self.is_readable else ""


@admin.register(ToolCall)
class ToolCallAdmin(PanelAdmin, ViewOnly, admin.ModelAdmin):
    """Approvals. The log's page of an invocation has all tool calls."""

    panel_lead = _("Tool calls that wait for a person. A run goes on once all its calls are decided.")

    def panel_urls(self) -> list[URLPattern]:
        return [self.panel_path("runs/<int:pk>/", self.run_page, "approval")]

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        """The inbox; with ``?tab=decided``, what was decided."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        is_history = request.GET.get("tab") == "decided"
        number = request.GET.get("page", "")
        page = max(int(number), 1) if number.isdecimal() and len(number) < 10 else 1
        rows = self._decided() if is_history else self._waiting()
        start = (page - 1) * _PAGE_SIZE
        calls = list(rows[start : start + _PAGE_SIZE + 1])
        cards = self.cards(request, calls[:_PAGE_SIZE])
        context = {
            "panel_lead": self.panel_lead,
            "is_history": is_history,
            "cards": cards,
            "runs": [] if is_history else _by_run(cards),
            "page": page,
            "has_more": len(calls) > _PAGE_SIZE,
        }
        return self.panel_page(request, f"{_TEMPLATES}/change_list.html", _("Approvals"), context)

    def change_view(self, request: HttpRequest, object_id: str, *args: Any, **kwargs: Any) -> HttpResponse:
        """Links in the admin's history lead to the page of the run."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        call = self.get_object(request, object_id)
        if call is None:
            raise Http404
        return HttpResponseRedirect(self.panel_url("approval", call.round.invocation_id))

    def run_page(self, request: HttpRequest, pk: int) -> HttpResponse:
        """The tool calls of a run that waited or waits for a decision, and the form that decides."""
        from .approval_page import ApprovalPage  # late: django.setup() loads nothing of runs

        return ApprovalPage(self, request, pk).respond()

    def _waiting(self) -> QuerySet[ToolCall]:
        waiting = panel.waiting_calls().filter(round__invocation__status=Invocation.Status.AWAITING_APPROVAL)
        return waiting.select_related("round__invocation").order_by("expires_at", "round_id", "position")

    def _decided(self) -> QuerySet[ToolCall]:
        rows = ToolCall.objects.filter(decided_at__isnull=False).select_related("round__invocation")
        return rows.order_by("-decided_at", "-id")

    def cards(self, request: HttpRequest, calls: Iterable[ToolCall]) -> list[CallCard]:
        """The calls with the rows of their tools, from two queries."""
        calls = list(calls)
        tools = {tool.name: tool for tool in Tool.objects.filter(name__in={call.tool_name for call in calls})}
        is_readable = may_read(request)
        return [CallCard(call, is_readable, tools.get(call.tool_name)) for call in calls]


def may_read(request: HttpRequest) -> bool:
    return request.user.has_perm("zango_ai.view_payload")


def _by_run(cards: list[CallCard]) -> list[tuple[Invocation, list[CallCard], str]]:
    """The waiting calls of each run, with the label of the button that leads to its page."""
    ordered = sorted(cards, key=lambda card: (card.call.expires_at, card.call.round_id))
    groups = [(run, list(of_run)) for run, of_run in groupby(ordered, key=lambda card: card.call.round.invocation)]
    return [
        (run, of_run, ngettext("Review", "Review %(count)d calls", len(of_run)) % {"count": len(of_run)})
        for run, of_run in groups
    ]
