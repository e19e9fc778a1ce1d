from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _

from ..models import Tool
from .access import ViewOnly, preformatted
from .panel import PanelAdmin


@admin.register(Tool)
class ToolAdmin(PanelAdmin, ViewOnly, admin.ModelAdmin):
    """Tools that code declares. ``zango_ai_sync_tools`` writes the rows."""

    panel_lead = _("Functions of your application that agents may call. They are declared in code.")

    list_display = [
        *("name", "section", "safety", "requires_approval", "is_active"),
        *("calls", "errors", "timeouts", "average_ms"),
    ]
    list_filter = ["is_active", "safety", "section"]
    search_fields = ["name", "description", "python_path"]
    fields = readonly_fields = (
        *("name", "description", "section", "python_path", "parameters", "return_type"),
        *("safety", "requires_approval", "timeout_seconds", "rate_limit_rpm", "memory_policy", "is_active"),
        *("calls", "errors", "timeouts", "average_ms"),
        *("created_at", "updated_at"),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Tool]:
        return Tool.objects.with_statistics()

    @admin.display(description=_("parameters"))
    def parameters(self, row: Tool) -> SafeString | str:
        return preformatted(row.parameters_schema)

    @admin.display(description=_("calls"))
    def calls(self, row: Any) -> int:
        return int(row.calls)

    @admin.display(description=_("errors"))
    def errors(self, row: Any) -> int:
        return int(row.errors)

    @admin.display(description=_("timeouts"))
    def timeouts(self, row: Any) -> int:
        return int(row.timeouts)

    @admin.display(description=_("average (ms)"))
    def average_ms(self, row: Any) -> int | str:
        return "-" if row.average_ms is None else round(row.average_ms)
