from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.urls import URLPattern
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _

from .. import tenancy
from ..models import MemorySession
from . import components, formats
from .access import ViewOnly
from .conversation import shown_messages
from .legal_hold import switch_hold
from .panel import PanelAdmin

_MAX_MESSAGES = 100


@admin.register(MemorySession)
class MemorySessionAdmin(PanelAdmin, ViewOnly, admin.ModelAdmin):
    panel_lead = _("Conversations that agents remember. Search by the exact session ID or user.")
    list_display = ["title", "agent_link", "user", "turns_count", "messages_count", "last_active", "state"]
    list_display_links = None
    list_filter = ["is_active", "agent"]
    list_select_related = ["agent"]
    search_fields = ["=session_id", "=user_ref"]
    show_full_result_count = False
    actions = ["clear"]

    def panel_urls(self) -> list[URLPattern]:
        clear = self.panel_path(
            "<int:pk>/clear/", self.clear_one, "memorysession_clear", permission="delete_memorysession"
        )
        hold = self.panel_path(
            "<int:pk>/hold/", self.hold_view, "memorysession_hold", permission="change_memorysession"
        )
        return [clear, hold]

    @admin.display(description=_("session"), ordering="session_id")
    def title(self, session: MemorySession) -> SafeString:
        url = self.panel_url("memorysession_change", session.pk)
        return format_html('<a class="za-mono" href="{}">{}</a>', url, session.session_id)

    @admin.display(description=_("agent"), ordering="agent__name")
    def agent_link(self, session: MemorySession) -> SafeString:
        return components.tag(session.agent.name, icon_name="bot")

    @admin.display(description=_("user"), ordering="user_ref")
    def user(self, session: MemorySession) -> str:
        return session.user_ref or gettext("anyone")

    @admin.display(description=_("messages"), ordering="last_sequence")
    def messages_count(self, session: MemorySession) -> str:
        return formats.count(session.last_sequence)

    @admin.display(description=_("last active"), ordering="last_active_at")
    def last_active(self, session: MemorySession) -> SafeString | str:
        return formats.when(session.last_active_at)

    @admin.display(description=_("status"), ordering="is_active")
    def state(self, session: MemorySession) -> SafeString:
        if session.is_active:
            return components.badge("active", gettext("open"))
        return components.badge("inactive", gettext("cleared"))

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        """The conversation. Without the permission to read texts: only its numbers."""
        session: Any = self.get_object(request, object_id)
        if session is None or not self.has_view_permission(request, session):
            return super().change_view(request, object_id, form_url, extra_context)
        may_hold = request.user.has_perm("zango_ai.change_memorysession")
        context = {
            **{"session": session, "state": self.state(session)},
            **self._shown(request, session),
            "clear_url": self._clear_url(request, session),
            "hold_url": self.panel_url("memorysession_hold", session.pk) if may_hold else "",
        }
        return self.panel_page(
            request, "admin/zango_ai/memorysession/conversation.html", session.session_id, context
        )

    def _shown(self, request: HttpRequest, session: MemorySession) -> dict[str, Any]:
        """The newest messages, or those before ``?before=``, and where the earlier ones are."""
        rows = session.messages.order_by("-sequence")
        before = request.GET.get("before", "")
        if before.isascii() and before.isdigit() and len(before) < 10:
            rows = rows.filter(sequence__lt=int(before))
        newest = list(rows[: _MAX_MESSAGES + 1])
        shown = newest[:_MAX_MESSAGES][::-1]
        return {
            "messages_shown": shown_messages(shown),
            "may_read": request.user.has_perm("zango_ai.view_payload"),
            "earlier": shown[0].sequence if len(newest) > _MAX_MESSAGES else None,
            "is_newest": not before,
            "may_see_invocations": request.user.has_perm("zango_ai.view_invocation"),
        }

    def _clear_url(self, request: HttpRequest, session: MemorySession) -> str:
        is_possible = session.is_active and self.has_clear_permission(request)
        return self.panel_url("memorysession_clear", session.pk) if is_possible else ""

    def clear_one(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Ask whether to delete the messages of a conversation; delete them on POST."""
        session = get_object_or_404(MemorySession.objects.select_related("agent"), pk=pk)
        if request.method != "POST":
            context = {"session": session, "back": self.panel_url("memorysession_change", pk)}
            title = _("Clear this conversation?")
            return self.panel_page(request, "admin/zango_ai/memorysession/confirm_clear.html", title, context)
        self._clear(request, [session])
        return HttpResponseRedirect(self.panel_url("memorysession_changelist"))

    def hold_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Put the conversation and its runs on legal hold, or end the hold (POST only)."""
        return switch_hold(self, request, get_object_or_404(MemorySession, pk=pk), "memorysession_change")

    def has_clear_permission(self, request: HttpRequest) -> bool:
        return bool(request.user.has_perm("zango_ai.delete_memorysession"))

    @admin.action(description=_("Clear selected conversations"), permissions=["clear"])
    def clear(self, request: HttpRequest, sessions: QuerySet[MemorySession]) -> None:
        self._clear(request, list(sessions))

    def _clear(self, request: HttpRequest, sessions: list[MemorySession]) -> None:
        from ..memory.sessions import clear

        schema = tenancy.current_schema()
        cleared = [row for row in sessions if clear(schema, row.agent_id, row.session_id)]
        for session in cleared:
            self.log_change(request, session, gettext("Cleared."))
        text = ngettext("%(count)d conversation cleared.", "%(count)d conversations cleared.", len(cleared))
        messages.success(request, text % {"count": len(cleared)})
