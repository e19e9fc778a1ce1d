from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.db.models import Count, QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from ..ledger import usage
from ..models import AgentConfig, Fallback, Invocation, Spend
from . import panel
from .access import TenantOnly
from .agent_form import AgentForm
from .agent_summary import AgentSummary, prompt_preview
from .agent_views import AgentViews
from .components import switch
from .formats import NOTHING, latency, percent, short_count, usd
from .invocation_replay import may_replay
from .spending import ShowsSpend, current_spend

_UNFINISHED_TEXT: dict[str, Any] = {
    Invocation.Status.QUEUED: _("Agent %(name)s: %(count)d queued"),
    Invocation.Status.RUNNING: _("Agent %(name)s: %(count)d running"),
    Invocation.Status.AWAITING_APPROVAL: _("Agent %(name)s: %(count)d awaiting approval"),
}
"""Statuses of runs that still need their agent."""


class FallbackInline(TenantOnly, admin.StackedInline):
    model = Fallback
    extra = 0
    fields = (("position", "provider", "model"),)
    verbose_name_plural = _("Fallbacks (tried in order of position when the agent's model fails)")


class AgentColumns:
    """Columns of the list. ``AgentConfigAdmin.get_changelist_instance()`` sets ``row.usage`` and ``row.query``."""

    @admin.display(description=_("agent"), ordering="name")
    def title(self, row: AgentConfig) -> SafeString:
        return format_html('{}<span class="za-sub">{}</span>', row.name, row.description)

    @admin.display(description=_("model"), ordering="provider__name")
    def target(self, row: AgentConfig) -> SafeString:
        provider = row.provider
        name = provider.name if provider.is_enabled else gettext("%(name)s (off)") % {"name": provider.name}
        return format_html(
            '<div><span class="za-mono">{}</span><span class="za-sub">{}</span></div>',
            row.model or provider.default_model or NOTHING,
            name,
        )

    @admin.display(description=_("runs"))
    def runs(self, row: Any) -> SafeString:
        return _two(row.usage, lambda figures: short_count(figures.runs))

    @admin.display(description=_("success"))
    def success(self, row: Any) -> SafeString:
        return _two(row.usage, lambda figures: percent(figures.success_rate, 1))

    @admin.display(description=_("average time"))
    def average(self, row: Any) -> SafeString:
        return _two(row.usage, lambda figures: latency(figures.average_latency_ms))

    @admin.display(description=_("cost"))
    def cost(self, row: Any) -> SafeString:
        return _two(row.usage, lambda figures: usd(figures.cost_usd))

    @admin.display(description=_("on"), ordering="is_enabled")
    def switch_button(self, row: Any) -> SafeString:
        return switch(row.switch_url, row.name, is_on=row.is_enabled)


def _two(row_usage: usage.Usage, show: Any) -> SafeString:
    """A figure of the last 30 days above the same figure of the last 24 hours."""
    return format_html(
        '<div>{}<span class="za-sub">{}</span></div>',
        show(row_usage.last_30_days),
        gettext("24 h: %(figure)s") % {"figure": show(row_usage.last_24h)},
    )


@admin.register(AgentConfig)
class AgentConfigAdmin(AgentColumns, ShowsSpend, AgentViews, admin.ModelAdmin):
    spend_owner = Spend.Owner.AGENT
    form = AgentForm
    panel_lead = _(
        "Each agent is a model with instructions, tools and limits. Code calls it by its name. The figures are of "
        "the last 30 days, and below them of the last 24 hours."
    )
    list_display = ["title", "target", "runs", "success", "average", "cost", "this_month", "switch_button"]
    list_display_links = ["title"]
    readonly_fields = ("this_month", "system_prompt_text", "user_prompt_text")
    list_filter = ["is_enabled", "provider", "output_schema"]
    list_select_related = ["provider"]
    search_fields = ["name", "description"]
    inlines = [FallbackInline]
    fieldsets = [
        (_("Identity"), {"fields": ["name", "description", "is_enabled", "is_public_api"]}),
        (_("Model"), {"fields": ["provider", "model", ("temperature", "max_tokens", "timeout_seconds")]}),
        (_("Prompts"), {"fields": ["system_prompt", "system_prompt_text", "user_prompt", "user_prompt_text"]}),
        (_("Output"), {"fields": ["output_schema", "output_json_schema", "output_retries"]}),
        (
            _("Tools"),
            {"fields": ["tools", "max_tool_rounds", "auto_approve_system_runs", "approval_by_another_person"]},
        ),
        (_("Memory"), {"fields": ["short_term_memory", "short_term_memory_max_messages"]}),
        (_("Limits"), {"fields": ["this_month", AgentConfig.BUDGET_FIELDS]}),
    ]

    def get_fieldsets(self, request: HttpRequest, obj: AgentConfig | None = None) -> Any:
        """A new agent has spent nothing yet."""
        if obj is not None:
            return super().get_fieldsets(request, obj)
        *others, (limits, _fields) = self.fieldsets
        return [*others, (limits, {"fields": [AgentConfig.BUDGET_FIELDS]})]

    def get_queryset(self, request: HttpRequest) -> QuerySet[AgentConfig]:
        related = ("provider", "system_prompt__active_version", "user_prompt__active_version")
        rows: QuerySet[AgentConfig] = super().get_queryset(request).select_related(*related)
        return rows

    def get_changelist_instance(self, request: HttpRequest) -> Any:
        """The list with each agent's figures, from one query for all of them."""
        changelist = super().get_changelist_instance(request)
        figures = {each.id: each for each in usage.per_agent()}
        query, can_change = changelist.get_query_string(), self.has_change_permission(request)
        for row in changelist.result_list:
            row.usage = figures.get(row.pk) or _no_usage(row)
            row.switch_url = self.panel_url("agentconfig_switch", row.pk) + query if can_change else ""
        return changelist

    @admin.display(description=_("text"))
    def system_prompt_text(self, agent: AgentConfig) -> SafeString:
        return format_html('<div data-za-part="system_prompt_text">{}</div>', prompt_preview(agent.system_prompt))

    @admin.display(description=_("text"))
    def user_prompt_text(self, agent: AgentConfig) -> SafeString:
        return format_html('<div data-za-part="user_prompt_text">{}</div>', prompt_preview(agent.user_prompt))

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        agent: AgentConfig = context["adminform"].form.instance
        context["summary"] = AgentSummary.of(agent, agent.tools.all() if agent.pk else ()).render()
        context |= self._links(request, agent)
        if agent.pk:
            found = (each for each in usage.per_agent() if each.id == agent.pk)
            if self.has_change_permission(request, agent) and current_spend(agent).spent_usd:
                context["reset_url"] = self.panel_url("agentconfig_reset_spend", agent.pk)
            context["figures"] = _header_figures(next(found, None) or _no_usage(agent))
        return super().render_change_form(request, context, *args, **kwargs)

    def _links(self, request: HttpRequest, agent: AgentConfig) -> dict[str, str]:
        """The addresses that the form's page needs. Those that the user may not use are left out."""
        links = {"models_url": self.panel_url("agentconfig_models")}
        links["summary_url"] = self.panel_url("agentconfig_summary") + (f"?agent={agent.pk}" if agent.pk else "")
        if not agent.pk:
            return links
        if self.has_add_permission(request):
            links["duplicate_url"] = self.panel_url("agentconfig_duplicate", agent.pk)
        if request.user.has_perm("zango_ai.run_agent"):
            links["playground_url"] = self.panel_url("agentconfig_playground", agent.pk)
        if panel.has_page(request, self.admin_site, Invocation):
            links["invocations_url"] = self.panel_url("invocation_changelist") + f"?agent_name={agent.name}"
            if may_replay(request):
                links["replays_url"] = self.panel_url("invocation_replays") + f"?agent={agent.pk}"
        return links

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> Any:
        """Agents with unfinished runs cannot be deleted."""
        deletable, counts, needed, protected = super().get_deleted_objects(objs, request)
        return deletable, counts, needed, [*protected, *self._unfinished_runs(request, objs)]

    def _unfinished_runs(self, request: HttpRequest, agents: Any) -> list[SafeString]:
        names = dict(AgentConfig.objects.filter(pk__in=[agent.pk for agent in agents]).values_list("pk", "name"))
        unfinished = Invocation.objects.filter(agent__in=names, status__in=list(_UNFINISHED_TEXT)).order_by()
        found = []
        for row in unfinished.values("agent", "status").annotate(count=Count("pk")).order_by("agent", "status"):
            name, status = names[row["agent"]], row["status"]
            text = _UNFINISHED_TEXT[status] % {"name": name, "count": row["count"]}
            found.append(format_html("{}", text))
            if panel.has_page(request, self.admin_site, Invocation):
                url = self.panel_url("invocation_changelist") + f"?agent_name={name}&status__exact={status}"
                found[-1] = format_html('<a href="{}">{}</a>', url, text)
        return found

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        super().save_related(request, form, formsets, change)
        for warning in form.instance.model_warnings():
            messages.warning(request, warning)

    def save_model(self, request: HttpRequest, obj: AgentConfig, form: Any, change: bool) -> None:
        super().save_model(request, obj, form, change)
        for warning in (obj.strict_schema_warning(), obj.unused_schema_warning()):
            if warning:
                messages.warning(request, warning)


def _header_figures(of: usage.Usage) -> list[tuple[str, str]]:
    month, day = of.last_30_days, of.last_24h
    return [
        (gettext("Runs (30 days)"), short_count(month.runs)),
        (gettext("Success"), percent(month.success_rate, 1)),
        (gettext("Average time"), latency(month.average_latency_ms)),
        (gettext("Cost (30 days)"), usd(month.cost_usd)),
        (gettext("Cost (24 h)"), usd(day.cost_usd)),
    ]


def _no_usage(agent: AgentConfig) -> usage.Usage:
    return usage.Usage(id=agent.pk, name=agent.name, last_24h=usage.Figures(), last_30_days=usage.Figures())
