from __future__ import annotations

from django.contrib import admin
from django.utils.translation import gettext_lazy as _

from ..models import AgentConfig, Fallback
from .access import TenantOnly


class FallbackInline(TenantOnly, admin.TabularInline):
    model = Fallback
    extra = 0
    fields = ("position", "provider", "model")
    verbose_name_plural = _("Fallbacks: asked in this order where the model above cannot answer")


@admin.register(AgentConfig)
class AgentConfigAdmin(TenantOnly, admin.ModelAdmin):
    list_display = ["name", "provider", "model", "output_schema", "is_enabled"]
    list_filter = ["is_enabled", "provider", "output_schema"]
    list_select_related = ["provider"]
    search_fields = ["name", "description"]
    inlines = [FallbackInline]
    fieldsets = [
        (None, {"fields": ["name", "description", "is_enabled"]}),
        (_("Model"), {"fields": ["provider", "model", "temperature", "max_tokens", "timeout_seconds"]}),
        (_("Prompts"), {"fields": ["system_prompt", "user_prompt"]}),
        (_("Output"), {"fields": ["output_schema", "output_json_schema"]}),
    ]
