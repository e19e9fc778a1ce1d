from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import ValidationError
from django.db import models
from django.forms.fields import InvalidJSONInput
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from ..models import AgentConfig, Fallback, Spend
from ..output import json_limits
from .access import TenantOnly
from .panel import PanelAdmin
from .spending import ShowsSpend


class SchemaField(forms.JSONField):
    """A JSON field that is empty if there is no schema, instead of showing ``null``."""

    def to_python(self, value: Any) -> Any:
        if _is_unreadable(value):
            raise ValidationError(_("This JSON is nested too deeply or has a number with too many digits."))
        return super().to_python(value)

    def bound_data(self, data: Any, initial: Any) -> Any:
        return InvalidJSONInput(data) if _is_unreadable(data) else super().bound_data(data, initial)

    def prepare_value(self, value: Any) -> Any:
        return "" if value is None else super().prepare_value(value)


def _is_unreadable(text: Any) -> bool:
    """Whether Python's JSON parser would raise an error that Django's field does not catch."""
    return isinstance(text, str) and not json_limits.is_within(text)


class FallbackInline(TenantOnly, admin.TabularInline):
    model = Fallback
    extra = 0
    fields = ("position", "provider", "model")
    verbose_name_plural = _("Fallbacks (tried in order of position when the agent's model fails)")


@admin.register(AgentConfig)
class AgentConfigAdmin(ShowsSpend, PanelAdmin, admin.ModelAdmin):
    spend_owner = Spend.Owner.AGENT
    panel_lead = _("Each agent combines a model, prompts and tools. Your application calls it by name.")
    list_display = ["name", "provider", "model", "output_schema", "this_month", "is_enabled"]
    readonly_fields = ("this_month",)
    list_filter = ["is_enabled", "provider", "output_schema"]
    list_select_related = ["provider"]
    search_fields = ["name", "description"]
    filter_horizontal = ["tools"]
    inlines = [FallbackInline]

    formfield_overrides = {
        **TenantOnly.formfield_overrides,
        models.JSONField: {"form_class": SchemaField, "required": False},
    }
    fieldsets = [
        (None, {"fields": ["name", "description", "is_enabled", "is_public_api"]}),
        (_("Model"), {"fields": ["provider", "model", "temperature", "max_tokens", "timeout_seconds"]}),
        (_("Prompts"), {"fields": ["system_prompt", "user_prompt"]}),
        (_("Output"), {"fields": ["output_schema", "output_json_schema", "output_retries"]}),
        (_("Tools"), {"fields": ["tools", "max_tool_rounds", "auto_approve_system_runs"]}),
        (_("Memory"), {"fields": ["short_term_memory", "short_term_memory_max_messages"]}),
        (_("Limits"), {"fields": ["this_month", *AgentConfig.BUDGET_FIELDS]}),
    ]

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        super().save_related(request, form, formsets, change)
        for warning in form.instance.model_warnings():
            messages.warning(request, warning)

    def save_model(self, request: HttpRequest, obj: AgentConfig, form: Any, change: bool) -> None:
        super().save_model(request, obj, form, change)
        for warning in (obj.strict_schema_warning(), obj.unused_schema_warning()):
            if warning:
                messages.warning(request, warning)
