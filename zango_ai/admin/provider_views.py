"""Views beside a provider's list and form: its switch, its connection, its models, and the reset of its spend."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.template.loader import render_to_string
from django.urls import URLPattern
from django.utils.decorators import method_decorator
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from django.views.decorators.debug import sensitive_post_parameters

from .. import tenancy
from ..models import Provider, Spend
from . import provider_connection, spending
from .formats import usd
from .panel import PanelAdmin
from .provider_form import MODEL_NAMES, ProviderForm

_TEMPLATES = "admin/zango_ai/provider"
_private = method_decorator(sensitive_post_parameters())


class ResetForm(forms.Form):
    """Why the spend is reset."""

    reason = forms.CharField(
        label=_("Reason"),
        max_length=500,
        widget=forms.TextInput(attrs={"class": "vLargeTextField"}),
        help_text=_("Kept in the provider's history, for example “Test runs of the trial month”."),
    )


class ProviderViews(PanelAdmin):
    """The views of ``ProviderAdmin`` that are not Django's."""

    def panel_urls(self) -> list[URLPattern]:
        return [
            *super().panel_urls(),
            self.panel_path("<int:pk>/switch/", self.switch, "provider_switch"),
            self.panel_path("<int:pk>/reset-spend/", self.reset_spend, "provider_reset_spend"),
            self.panel_path("test/", self.test_connection, "provider_test"),
            self.panel_path("models/", self.list_models, "provider_models"),
        ]

    def switch(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Switch the provider on or off (POST only)."""
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        provider = self._changeable(request, pk)
        return self.save_switch(
            request, provider, on=_("Provider %(name)s is on."), off=_("Provider %(name)s is off.")
        )

    @_private
    def test_connection(self, request: HttpRequest) -> HttpResponse:
        """Test the values of the form, as HTML (POST only)."""
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        form = self._form(request)
        before = form.instance.pk and Provider.objects.get(pk=form.instance.pk)
        answer = provider_connection.test(request, form)
        if before and answer.tone != "warn" and _is_same_connection(before, form.instance):
            before.keep_test("" if answer.tone == "ok" else answer.text)
        return HttpResponse(render_to_string("admin/zango_ai/includes/alert.html", _shown(answer)))

    @_private
    def list_models(self, request: HttpRequest) -> HttpResponse:
        """The vendor's models as check boxes for the form, as HTML (POST only)."""
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        models, problem = provider_connection.fetch(self._form(request))
        if problem:
            return HttpResponse(render_to_string("admin/zango_ai/includes/alert.html", _shown(problem)))
        context = {"models": models, "name": MODEL_NAMES, "may_add": request.user.has_perm(_ADD_MODELS)}
        return HttpResponse(render_to_string(f"{_TEMPLATES}/fetched_models.html", context))

    def reset_spend(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Ask for a reason, and write off the spend of the current budget month."""
        from ..ledger import spend_reset
        from ..models.specs import budget_of

        provider = self._changeable(request, pk)
        form = ResetForm(request.POST or None)
        back = self.panel_url("provider_change", pk)
        if request.method == "POST" and form.is_valid():
            with transaction.atomic():
                budget = budget_of(vars(provider))
                amount = spend_reset.reset(Spend.Owner.PROVIDER, pk, budget, tenancy.current_schema())
                told = {"amount": usd(amount), "reason": form.cleaned_data["reason"]}
                text = gettext("Spend of %(amount)s reset. Reason: %(reason)s") % told
                self.log_change(request, provider, text)  # type: ignore[attr-defined]
            messages.success(request, gettext("The spend of %(amount)s was reset.") % told)
            return HttpResponseRedirect(back)
        row = spending.with_spend(Provider.objects.filter(pk=pk), Spend.Owner.PROVIDER).get()
        context = {"provider": provider, "form": form, "spend": spending.current_spend(row), "back": back}
        return self.panel_page(request, f"{_TEMPLATES}/reset_spend.html", _("Reset spend"), context)

    def _changeable(self, request: HttpRequest, pk: int) -> Provider:
        provider = get_object_or_404(Provider, pk=pk)
        if not self.has_change_permission(request, provider):
            raise PermissionDenied
        return provider

    def _form(self, request: HttpRequest) -> ProviderForm:
        """The posted form, for the provider in ``?provider=`` or a new one."""
        key = request.GET.get("provider", "")
        if key:
            provider = self._changeable(request, int(key) if key.isdecimal() and len(key) < 19 else 0)
        elif self.has_add_permission(request):
            provider = None
        else:
            raise PermissionDenied
        return ProviderForm(request.POST, instance=provider)


_ADD_MODELS = "zango_ai.add_providermodel"


def _shown(answer: provider_connection.Answer) -> dict[str, Any]:
    return {"tone": answer.tone, "title": answer.title, "text": answer.text}


def _is_same_connection(saved: Provider, typed: Provider) -> bool:
    places = [(each.kind, each.default_model) for each in (saved, typed)]
    return places[0] == places[1] and bool(saved.credentials == typed.credentials)
