from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.db.models import Count, OuterRef, Q, QuerySet, Subquery
from django.db.models.functions import Coalesce
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.urls import URLPattern
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from ..configuration import tool_rows
from ..models import AgentConfig, Tool, ToolCall, ToolUsage
from . import components, formats
from .access import ViewOnly
from .panel import PanelAdmin
from .tool_parameters import parameters_of

_SAFETIES = {
    "read_only": ("ok", "eye", _("Reads data. The database refuses any change.")),
    "write": ("warn", "pencil", _("Changes data of your application.")),
    "external": ("bad", "zap", _("Has effects outside of the database, such as sending an e-mail.")),
}
_SAFETY_ICON = "wrench"


def safety_badge(tool: Tool) -> SafeString:
    """What the tool may do, in colour, with an icon and in words."""
    tone, icon_name, _text = _SAFETIES.get(tool.safety, ("none", _SAFETY_ICON, ""))
    icon = components.icon(icon_name)
    return format_html('<span class="za-badge za-{}">{}{}</span>', tone, icon, tool.get_safety_display())


@admin.register(Tool)
class ToolAdmin(PanelAdmin, ViewOnly, admin.ModelAdmin):
    """Tools that code declares. ``zango_ai_sync_tools`` and the button of the list write the rows."""

    panel_lead = _("Functions of your application that agents may call. Code declares them with @tool.")
    change_list_template = "admin/zango_ai/tool/change_list.html"
    list_display = [
        *("title", "safety_label", "parameters", "agents_count"),
        *("calls", "errors", "timeouts", "average"),
    ]
    list_display_links = None
    list_filter = ["section", "safety", "requires_approval", "is_enabled", "is_active"]
    search_fields = ["name", "description", "python_path"]

    def panel_urls(self) -> list[URLPattern]:
        return [
            self.panel_path("sync/", self.sync, "tool_sync", permission="change_tool"),
            self.panel_path("<int:pk>/switch/", self.switch, "tool_switch", permission="change_tool"),
        ]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Tool]:
        choices: QuerySet[Any] = AgentConfig.tools.through.objects.filter(tool=OuterRef("pk")).order_by()
        agents = Subquery(choices.values("tool").annotate(total=Count("pk")).values("total"))
        return Tool.objects.with_statistics().annotate(agents_total=Coalesce(agents, 0))

    def get_list_display(self, request: HttpRequest) -> Any:
        return [*self.list_display, "switch_button" if _may_change(request) else "state"]

    def panel_list_context(self, request: HttpRequest) -> dict[str, Any]:
        figures = Tool.objects.aggregate(
            active=Count("pk", filter=Q(is_active=True, is_enabled=True)),
            off=Count("pk", filter=Q(is_active=True, is_enabled=False)),
            sections=Count("section", distinct=True, filter=Q(is_active=True)),
        )
        labels = {"active": _("Active tools"), "off": _("Switched off"), "sections": _("Sections")}
        return {
            "figures": [(label, figures[name]) for name, label in labels.items()],
            "sync_url": self.panel_url("tool_sync") if _may_change(request) else "",
        }

    @admin.display(description=_("tool"), ordering="name")
    def title(self, tool: Tool) -> SafeString:
        section = components.tag(tool.section) if tool.section else ""
        return format_html(
            '<div class="za-title"><a class="za-mono" href="{}">{}</a> {}'
            '<br><span class="za-quiet">{}</span></div>',
            self.panel_url("tool_change", tool.pk),
            tool.name,
            section,
            tool.description,
        )

    @admin.display(description=_("safety"), ordering="safety")
    def safety_label(self, tool: Tool) -> SafeString:
        badge = safety_badge(tool)
        if not tool.requires_approval:
            return badge
        approval = format_html(
            '<span class="za-quiet">{} {}</span>', components.icon("shield-check"), _("needs approval")
        )
        return format_html('<div class="za-stack">{}{}</div>', badge, approval)

    @admin.display(description=_("parameters"))
    def parameters(self, tool: Tool) -> int:
        return len(parameters_of(tool.parameters_schema))

    @admin.display(description=_("agents"), ordering="agents_total")
    def agents_count(self, tool: Any) -> int:
        return int(tool.agents_total)

    @admin.display(description=_("calls"), ordering="calls")
    def calls(self, tool: Any) -> str:
        return formats.short_count(tool.calls)

    @admin.display(description=_("errors"), ordering="errors")
    def errors(self, tool: Any) -> SafeString | str:
        return _count_of_failures(tool.errors)

    @admin.display(description=_("timeouts"), ordering="timeouts")
    def timeouts(self, tool: Any) -> SafeString | str:
        return _count_of_failures(tool.timeouts)

    @admin.display(description=_("average time"), ordering="average_ms")
    def average(self, tool: Any) -> str:
        return formats.latency(tool.average_ms)

    @admin.display(description=_("on"), ordering="is_enabled")
    def switch_button(self, tool: Tool) -> SafeString:
        if not tool.is_active:
            return self.state(tool)
        return components.switch(self.panel_url("tool_switch", tool.pk), tool.name, is_on=tool.is_enabled)

    @admin.display(description=_("status"), ordering="is_enabled")
    def state(self, tool: Tool) -> SafeString:
        if not tool.is_active:
            return components.badge("inactive", gettext("no longer in code"))
        return components.badge(
            "enabled" if tool.is_enabled else "off", gettext("on" if tool.is_enabled else "off")
        )

    def switch(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Turn a tool on or off for all agents (POST only)."""
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        tool = get_object_or_404(Tool, pk=pk)
        is_enabled = request.POST.get("is_enabled") == "1"
        if tool.is_enabled != is_enabled:
            tool.is_enabled = is_enabled
            tool.save(update_fields=["is_enabled", "updated_at"])
            self.log_change(request, tool, gettext("Turned on.") if is_enabled else gettext("Turned off."))
        text = gettext("%(name)s is on.") if is_enabled else gettext("%(name)s is off: no new run can call it.")
        messages.success(request, text % {"name": tool.name})
        page = self.panel_url("tool_change", pk) if "detail" in request.POST else self.panel_url("tool_changelist")
        return HttpResponseRedirect(page)

    def sync(self, request: HttpRequest) -> HttpResponse:
        """Write the rows of the tools that code declares (POST only)."""
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        report = tool_rows.sync()
        for tool in Tool.objects.filter(name__in=[*report.new, *report.changed, *report.gone]):
            self.log_change(request, tool, gettext("Synced with the code."))
        for problem in report.invalid:
            messages.error(request, problem)
        counts = {"new": len(report.new), "changed": len(report.changed), "gone": len(report.gone)}
        text = gettext("Tools are in sync: %(new)d new, %(changed)d changed, %(gone)d no longer in code.")
        messages.success(request, text % counts)
        return HttpResponseRedirect(self.panel_url("tool_changelist"))

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        """The page of one tool. Nobody edits it: code declares tools."""
        tool: Any = self.get_object(request, object_id)
        if tool is None or not self.has_view_permission(request, tool):
            return super().change_view(request, object_id, form_url, extra_context)
        context = {
            **{"tool": tool, "safety": safety_badge(tool), "state": self.state(tool)},
            "safety_text": _SAFETIES.get(tool.safety, ("", "", ""))[2],
            "panel_lead": tool.description,
            "parameters": parameters_of(tool.parameters_schema),
            "agents": tool.agents.order_by("name") if request.user.has_perm("zango_ai.view_agentconfig") else None,
            "outcomes": _outcomes(tool),
            "switch_url": self.panel_url("tool_switch", tool.pk) if _may_change(request) else "",
        }
        return self.panel_page(request, "admin/zango_ai/tool/detail.html", tool.name, context)


def _count_of_failures(count: int) -> SafeString | str:
    return format_html('<b class="za-failures">{}</b>', formats.short_count(count)) if count else "0"


def _may_change(request: HttpRequest) -> bool:
    return bool(request.user.has_perm("zango_ai.change_tool"))


def _outcomes(tool: Any) -> list[dict[str, Any]]:
    """How calls of the tool ended: status, label, count and share in percent, the most frequent first."""
    labels = dict(ToolCall.Status.choices)
    rows = ToolUsage.objects.filter(tool_name=tool.name).order_by("-calls", "status")
    return [
        {
            **{"status": row.status, "label": labels.get(row.status, row.status), "calls": row.calls},
            "share": f"{100 * row.calls / tool.calls:.1f}",
        }
        for row in rows
    ]
