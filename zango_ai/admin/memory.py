from __future__ import annotations

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.html import format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from .. import tenancy
from ..models import MemorySession
from .access import ViewOnly, preformatted
from .panel import PanelAdmin

_MAX_MESSAGES = 50


@admin.register(MemorySession)
class MemorySessionAdmin(PanelAdmin, ViewOnly, admin.ModelAdmin):
    panel_lead = _("Conversations that agents remember.")
    list_display = ["session_id", "agent", "user_ref", "is_active", "turns_count", "last_active_at"]
    list_filter = ["is_active", "agent"]
    list_select_related = ["agent"]
    search_fields = ["=session_id", "=user_ref"]
    show_full_result_count = False
    actions = ["clear"]
    fields = readonly_fields = (
        *("session_id", "agent", "user_ref", "is_active", "turns_count", "created_at", "last_active_at"),
        "latest_messages",
    )

    @admin.display(description=_("latest messages"))
    def latest_messages(self, session: MemorySession) -> SafeString | str:
        latest = list(session.messages.order_by("-sequence")[:_MAX_MESSAGES])[::-1]
        rows = ((m.sequence, m.role, preformatted(m.content or m.tool_calls)) for m in latest)
        return format_html_join("", "<p>{}. {}</p>{}", rows) or "-"

    def has_clear_permission(self, request: HttpRequest) -> bool:
        return bool(request.user.has_perm("zango_ai.delete_memorysession"))

    @admin.action(description=_("Clear selected conversations"), permissions=["clear"])
    def clear(self, request: HttpRequest, sessions: QuerySet[MemorySession]) -> None:
        from ..memory.sessions import clear

        schema = tenancy.current_schema()
        cleared = sum(clear(schema, session.agent_id, session.session_id) for session in sessions)
        messages.success(
            request,
            ngettext("%(count)d conversation cleared.", "%(count)d conversations cleared.", cleared)
            % {"count": cleared},
        )
