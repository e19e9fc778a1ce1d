"""The panel: section tabs on every page, and views of its own beside Django's lists and forms."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import wraps
from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.admin.sites import AdminSite, all_sites
from django.contrib.admin.views.main import ERROR_FLAG
from django.core.exceptions import PermissionDenied
from django.db.models import DecimalField, Model, QuerySet
from django.http import HttpRequest, HttpResponseBase, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from ..models import ToolCall
from . import invalid_filters
from .access import TenantOnly
from .money_field import MoneyField, MoneyInput

View = Callable[..., HttpResponseBase]
_MOST_WAITING = 99


@dataclass(frozen=True, slots=True)
class Section:
    """One tab. It is shown to users who may see the first of its models."""

    name: str
    label: Any
    icon: str
    models: tuple[str, ...]
    """Lower-case model names whose pages belong to the section."""


SECTIONS = (
    Section("overview", _("Overview"), "layout-dashboard", ()),
    Section("agents", _("Agents"), "bot", ("agentconfig",)),
    Section("providers", _("Providers"), "cloud", ("provider", "providermodel", "spend")),
    Section("prompts", _("Prompts"), "message-square-text", ("prompt",)),
    Section("tools", _("Tools"), "wrench", ("tool",)),
    Section("approvals", _("Approvals"), "shield-check", ("toolcall",)),
    Section("sessions", _("Sessions"), "messages-square", ("memorysession",)),
    Section("invocations", _("Invocations"), "scroll-text", ("invocation",)),
)


@dataclass(frozen=True, slots=True)
class Tab:
    section: Section
    url: str
    is_current: bool
    waiting: int = 0
    """Tool calls that wait for a decision, at most 99."""


def site_of(request: HttpRequest) -> AdminSite:
    """The admin site that serves the request."""
    name = getattr(request, "current_app", None) or admin.site.name
    return next((site for site in all_sites if site.name == name), admin.site)


def tabs(request: HttpRequest, model_name: str = "") -> Iterator[Tab]:
    """The tabs that the user may see. ``model_name`` is the model of the current page; empty: the overview."""
    site = site_of(request)
    pages = {model._meta.label_lower: page for model, page in site._registry.items()}
    for section in SECTIONS:
        is_current = model_name in section.models if section.models else not model_name
        if not section.models:
            yield Tab(section, reverse("admin:app_list", args=["zango_ai"], current_app=site.name), is_current)
            continue
        page = pages.get(f"zango_ai.{section.models[0]}")
        if page is None or not page.has_view_permission(request):
            continue
        url = reverse(f"admin:zango_ai_{section.models[0]}_changelist", current_app=site.name)
        yield Tab(section, url, is_current, count_waiting() if section.name == "approvals" else 0)


def count_waiting() -> int:
    """How many tool calls wait for a decision, at most 99."""
    return waiting_calls()[:_MOST_WAITING].count()


def waiting_calls() -> QuerySet[ToolCall]:
    """The tool calls that wait for a decision. Those that a worker is about to execute are decided already."""
    return ToolCall.objects.filter(status=ToolCall.Status.AWAITING_APPROVAL, decided_at=None)


def has_page(request: HttpRequest, site: AdminSite, model: type[Model]) -> bool:
    """Whether the admin site has pages of the model, and the user may view them."""
    return site.is_registered(model) and site.get_model_admin(model).has_view_permission(request)


class PanelAdmin(TenantOnly):
    """Base of the panel's ModelAdmins: use it as ``class ToolAdmin(PanelAdmin, admin.ModelAdmin)``."""

    formfield_overrides = {
        **TenantOnly.formfield_overrides,
        DecimalField: {"form_class": MoneyField, "widget": MoneyInput},
    }

    panel_lead: Any = ""
    """One sentence under the title of the list: what these rows are for."""

    def panel_urls(self) -> list[URLPattern]:
        """Views of this admin beside Django's own, made with ``panel_path()``."""
        return []

    def get_urls(self) -> list[URLPattern]:
        pages: Any = super()
        return [*self.panel_urls(), *pages.get_urls()]

    def panel_path(self, route: str, view: View, name: str, *, permission: str = "") -> URLPattern:
        """A view at ``zango_ai/<model>/<route>``, named ``admin:zango_ai_<name>``.

        It needs the permission to view the model, and ``permission``, such as ``run_agent``, if that is given.
        """

        @wraps(view)
        def checked(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
            if not self.has_view_permission(request):
                raise PermissionDenied
            if permission and not request.user.has_perm(f"zango_ai.{permission}"):
                raise PermissionDenied
            return view(request, *args, **kwargs)

        return path(route, self.admin_site.admin_view(checked), name=f"zango_ai_{name}")

    def panel_url(self, name: str, *args: Any) -> str:
        """The address of a page of the panel on this admin site: ``panel_url("agentconfig_changelist")``."""
        return reverse(f"admin:zango_ai_{name}", args=args, current_app=self.admin_site.name)

    def panel_page(
        self, request: HttpRequest, template: str, title: Any, context: dict[str, Any] | None = None
    ) -> TemplateResponse:
        """A page with the section tabs. ``template`` extends ``admin/zango_ai/page.html``."""
        values = {
            **self.admin_site.each_context(request),
            **{"title": title, "opts": self.model._meta, "media": self.media},
            **(context or {}),
        }
        request.current_app = self.admin_site.name
        return TemplateResponse(request, template, values)

    def save_switch(self, request: HttpRequest, row: Any, *, on: Any, off: Any) -> HttpResponseRedirect:
        """Save the posted ``is_enabled`` of a row, and return to the list as it was.

        ``on`` and ``off`` are what the user is told, with ``%(name)s``.
        """
        row.is_enabled = request.POST.get("is_enabled") == "1"
        row.save(update_fields=["is_enabled", "updated_at"])
        pages: Any = self
        pages.log_change(request, row, gettext("Switched on.") if row.is_enabled else gettext("Switched off."))
        messages.success(request, (on if row.is_enabled else off) % {"name": row.name})
        query = request.GET.urlencode()
        page = self.panel_url(f"{row._meta.model_name}_changelist")
        return HttpResponseRedirect(page + (f"?{query}" if query else ""))

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> Any:
        if invalid_filters.has_nul(request):
            # As Django does for wrong filters.
            self._say_not_filtered(request, IncorrectLookupParameters())
            return HttpResponseRedirect(f"{request.path}?{ERROR_FLAG}=1")
        pages: Any = super()
        lists = {"panel_lead": self.panel_lead, "title": self.model._meta.verbose_name_plural.capitalize()}
        return pages.changelist_view(
            request, {**lists, **self.panel_list_context(request), **(extra_context or {})}
        )

    def get_changelist_instance(self, request: HttpRequest) -> Any:
        """For wrong filters, Django redirects to the whole list. A message says so."""
        pages: Any = super()
        try:
            return pages.get_changelist_instance(request)
        except IncorrectLookupParameters as exc:
            if request.resolver_match and str(request.resolver_match.url_name).endswith("_changelist"):
                self._say_not_filtered(request, exc)
            raise

    def _say_not_filtered(self, request: HttpRequest, exc: IncorrectLookupParameters) -> None:
        effect = gettext("The list is not filtered.")
        messages.error(request, f"{invalid_filters.problem_of(exc)} {effect}")

    def panel_list_context(self, request: HttpRequest) -> dict[str, Any]:
        """More for the list's template. ``figures`` is a list of (label, value) for its header."""
        return {}
