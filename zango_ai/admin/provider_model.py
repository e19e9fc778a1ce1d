"""The page of one model of a provider: price, abilities and limits that override the price list."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils.translation import gettext_lazy as _

from ..models import ProviderModel
from .panel import PanelAdmin

_BACK = "#za-models-title"


@admin.register(ProviderModel)
class ProviderModelAdmin(PanelAdmin, admin.ModelAdmin):
    panel_lead = _(
        "The models that agents may use, with prices, abilities and limits that override the price list."
    )
    list_display = [
        *(
            "model_id",
            "provider",
            "input_cost_per_mtok",
            "output_cost_per_mtok",
            "rate_limit_rpm",
            "rate_limit_tpm",
        ),
        "is_enabled",
    ]
    list_filter = ["provider", "is_enabled", "is_listed"]
    list_select_related = ["provider"]
    search_fields = ["model_id", "display_name"]
    fieldsets = [
        (None, {"fields": ["provider", "model_id", "display_name", "is_enabled"]}),
        (
            _("Price"),
            {
                "fields": [("input_cost_per_mtok", "output_cost_per_mtok")],
                "description": _("US dollars for a million tokens."),
            },
        ),
        (
            _("Abilities"),
            {
                "fields": [("accepts_tools", "accepts_schema"), ("accepts_images", "accepts_documents")],
                "description": _("Change these only if the price list is wrong or does not know the model."),
            },
        ),
        (_("Limits"), {"fields": [("rate_limit_rpm", "rate_limit_tpm")]}),
    ]

    def formfield_for_dbfield(self, db_field: Any, request: Any, **kwargs: Any) -> Any:
        if db_field.name == "is_enabled":
            kwargs["widget"] = forms.CheckboxInput(attrs={"class": "za-switch"})
        return super().formfield_for_dbfield(db_field, request, **kwargs)

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return ["provider"] if obj else []

    def response_post_save_add(self, request: HttpRequest, obj: ProviderModel) -> HttpResponseRedirect:
        return self._back(request, obj.provider_id)

    def response_post_save_change(self, request: HttpRequest, obj: ProviderModel) -> HttpResponseRedirect:
        return self._back(request, obj.provider_id)

    def delete_model(self, request: HttpRequest, obj: ProviderModel) -> None:
        request.deleted_from = obj.provider_id  # type: ignore[attr-defined]
        super().delete_model(request, obj)

    def response_delete(self, request: HttpRequest, obj_display: str, obj_id: int) -> HttpResponse:
        super().response_delete(request, obj_display, obj_id)  # for its message
        return self._back(request, request.deleted_from)  # type: ignore[attr-defined]

    def _back(self, request: HttpRequest, provider_id: int) -> HttpResponseRedirect:
        """To the page of the provider, or to the list if the user may not view providers."""
        if not request.user.has_perm("zango_ai.view_provider"):
            return HttpResponseRedirect(self.panel_url("providermodel_changelist"))
        return HttpResponseRedirect(self.panel_url("provider_change", provider_id) + _BACK)
