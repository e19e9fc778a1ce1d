from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.db.models import OuterRef, QuerySet
from django.http import HttpRequest
from django.utils.decorators import method_decorator
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _
from django.views.decorators.debug import sensitive_post_parameters

from ..exceptions import ZangoAIError
from ..ledger import usage
from ..models import AgentConfig, Provider, ProviderModel, Spend
from ..providers.kinds import KINDS
from . import components, provider_connection, provider_page
from .counting import count_of
from .formats import NOTHING, percent, short_count, usd
from .provider_form import LIMITS, SLOTS, ProviderForm
from .provider_views import ProviderViews
from .spending import ShowsSpend


class ProviderColumns:
    """Columns of the list. ``get_changelist_instance()`` sets ``row.usage`` and ``row.switch_url``."""

    @admin.display(description=_("provider"), ordering="name")
    def title(self, row: Provider) -> SafeString:
        kind = KINDS.get(row.kind)
        return format_html('{}<span class="za-sub">{}</span>', row.name, gettext(kind.label) if kind else row.kind)

    @admin.display(description=_("connection"), ordering="validated_at")
    def connection(self, row: Provider) -> SafeString:
        """Whether calls can be made, and if not, the reason."""
        if not row.is_enabled:
            return components.badge("disabled", gettext("switched off"))
        return provider_page.connection_badge(row)

    @admin.display(description=_("default model"), ordering="default_model")
    def target(self, row: Any) -> SafeString:
        allowed = ngettext("%(count)d model allowed", "%(count)d models allowed", row.models_count)
        text = allowed % {"count": row.models_count} if row.models_count else gettext("any model allowed")
        return format_html(
            '<div><span class="za-mono">{}</span><span class="za-sub">{}</span></div>',
            row.default_model or NOTHING,
            text,
        )

    @admin.display(description=_("runs"))
    def runs(self, row: Any) -> SafeString:
        month = row.usage.last_30_days
        success = gettext("%(rate)s success") % {"rate": percent(month.success_rate, 1)} if month.runs else ""
        return format_html(
            '<div><span class="za-num">{}</span><span class="za-sub">{}</span></div>',
            short_count(month.runs),
            success,
        )

    @admin.display(description=_("agents"), ordering="agents_count")
    def agents(self, row: Any) -> int:
        return int(row.agents_count)

    @admin.display(description=_("on"), ordering="is_enabled")
    def switch_button(self, row: Any) -> SafeString:
        return components.switch(row.switch_url, row.name, is_on=row.is_enabled)


@admin.register(Provider)
class ProviderAdmin(ProviderColumns, ShowsSpend, ProviderViews, admin.ModelAdmin):
    spend_owner = Spend.Owner.PROVIDER
    panel_lead = _(
        "Accounts with model vendors and servers of your own, with their budgets and limits. Runs are those of the "
        "last 30 days."
    )
    form = ProviderForm
    list_display = ["title", "connection", "target", "runs", "this_month", "agents", "switch_button"]
    list_display_links = ["title"]
    actions = ["validate_connections", "fetch_models"]
    list_filter = ["is_enabled", "kind"]
    search_fields = ["name", "description"]

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        may_edit = self.has_change_permission(request, obj) if obj else self.has_add_permission(request)
        return [
            (_("Identity"), {"fields": ["name", "description", "is_enabled"]}),
            (_("Account"), {"fields": ["kind", *(SLOTS if may_edit else ()), "default_model"]}),
            (
                _("Limits"),
                {
                    "fields": [
                        Provider.BUDGET_FIELDS,
                        ("rate_limit_rpm", "rate_limit_tpm"),
                        *LIMITS[3:4],
                        "max_retries",
                    ]
                },
            ),
        ]

    @method_decorator(sensitive_post_parameters())
    def changeform_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        return super().changeform_view(request, *args, **kwargs)

    def render_change_form(self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        provider: Provider = context["adminform"].form.instance
        context |= provider_page.context(self, request, provider)
        return super().render_change_form(request, context, *args, **kwargs)

    def save_model(self, request: HttpRequest, obj: Provider, form: Any, change: bool) -> None:
        provider_connection.keep_result(request, form)
        super().save_model(request, obj, form, change)

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        super().save_related(request, form, formsets, change)
        provider = form.instance
        if request.user.has_perm("zango_ai.add_providermodel"):
            form.added_models = provider.add_models(form.models_to_add())
        for warning in filter(None, map(provider.model_warning, sorted(provider.models_in_use()))):
            messages.warning(request, warning)

    def construct_change_message(self, request: HttpRequest, form: Any, formsets: Any, add: bool = False) -> Any:
        made: list[Any] = super().construct_change_message(request, form, formsets, add)
        names = [row.model_id for row in getattr(form, "added_models", ())]
        kind = str(ProviderModel._meta.verbose_name)
        return [*made, *({"added": {"name": kind, "object": name}} for name in names)]

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        # The form adds the credential fields itself; the model does not have them.
        kwargs["fields"] = ProviderForm.Meta.fields
        return super().get_form(request, obj, change, **kwargs)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Provider]:
        rows: QuerySet[Provider] = super().get_queryset(request)
        agents = AgentConfig.objects.filter(provider=OuterRef("pk"))
        models = ProviderModel.objects.filter(provider=OuterRef("pk"), is_enabled=True)
        return rows.annotate(agents_count=count_of(agents), models_count=count_of(models))

    def get_changelist_instance(self, request: HttpRequest) -> Any:
        """The list with each provider's figures, from one query for all of them."""
        changelist: Any = super().get_changelist_instance(request)
        figures = {each.id: each for each in usage.per_provider()}
        query, can_change = changelist.get_query_string(), self.has_change_permission(request)
        for row in changelist.result_list:
            row.usage = figures.get(row.pk) or provider_page.no_usage(row)
            row.switch_url = self.panel_url("provider_switch", row.pk) + query if can_change else ""
        rows = list(changelist.result_list)
        changelist.panel_figures = [
            (gettext("Providers"), short_count(len(rows))),
            (gettext("On"), short_count(sum(row.is_enabled for row in rows))),
            (gettext("Runs (30 days)"), short_count(sum(row.usage.last_30_days.runs for row in rows))),
            (gettext("Cost (30 days)"), usd(sum(row.usage.last_30_days.cost_usd for row in rows))),
        ]
        return changelist

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> Any:
        response = super().changelist_view(request, extra_context)
        context = getattr(response, "context_data", None) or {}
        if "cl" in context:
            context["figures"] = context["cl"].panel_figures
        return response

    @admin.action(description=_("Test the connection of selected providers"), permissions=["change"])
    def validate_connections(self, request: HttpRequest, providers: QuerySet[Provider]) -> None:
        for provider in providers:
            if provider.validate_connection():
                messages.success(request, _("Provider %(name)s: the connection works.") % {"name": provider})
            else:
                messages.error(request, provider.validation_error)

    @admin.action(description=_("Fetch the models of selected providers"), permissions=["change"])
    def fetch_models(self, request: HttpRequest, providers: QuerySet[Provider]) -> None:
        for provider in providers:
            try:
                new = provider.fetch_models()
            except ZangoAIError as exc:
                messages.error(request, str(exc))
                continue
            text = _("Provider %(name)s: new models added: %(count)d.") % {"name": provider, "count": len(new)}
            messages.success(request, text)
            unlisted = ", ".join(provider.unlisted_models())
            if unlisted:
                text = _("Not in the vendor's list, but still allowed: %(models)s.") % {"models": unlisted}
                messages.warning(request, text)
