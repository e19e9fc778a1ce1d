"""Views beside a provider's list and form: its switch, its connection, and its models."""

from __future__ import annotations

from typing import Any

from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed
from django.shortcuts import get_object_or_404
from django.template.loader import render_to_string
from django.urls import URLPattern
from django.utils.decorators import method_decorator
from django.utils.translation import gettext_lazy as _
from django.views.decorators.debug import sensitive_post_parameters

from ..models import Provider
from . import provider_connection
from .provider_form import MODEL_NAMES, ProviderForm
from .reset_spend import ResetsSpend

_TEMPLATES = "admin/zango_ai/provider"
_private = method_decorator(sensitive_post_parameters())


class ProviderViews(ResetsSpend):
    """The views of ``ProviderAdmin`` that are not Django's."""

    def panel_urls(self) -> list[URLPattern]:
        return [
            *super().panel_urls(),
            self.panel_path("<int:pk>/switch/", self.switch, "provider_switch"),
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
