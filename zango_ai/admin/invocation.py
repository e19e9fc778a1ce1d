from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import FileResponse, Http404, HttpRequest
from django.shortcuts import get_object_or_404
from django.template.defaultfilters import filesizeformat
from django.template.loader import render_to_string
from django.urls import path, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from ..ledger.money import format_usd
from ..models import Invocation, InvocationFile, InvocationRound, ToolCall
from ..models.invocation import OutcomeModel
from .access import ViewOnly, preformatted


class Figures:
    """What a round and a whole run show alike: both are ``OutcomeModel``."""

    @admin.display(description=_("status"), ordering="status")
    def badge(self, row: Invocation | InvocationRound) -> SafeString:
        label = row.get_status_display()
        return format_html('<span class="zango-ai-status zango-ai-status-{}">{}</span>', row.status, label)

    @admin.display(description=_("tokens in / out"))
    def tokens(self, row: OutcomeModel) -> str:
        return f"{row.input_tokens} / {row.output_tokens}"

    @admin.display(description=_("cost"), ordering="cost_usd")
    def cost(self, row: OutcomeModel) -> str:
        return gettext("unknown") if row.cost_usd is None else format_usd(row.cost_usd)

    @admin.display(description=_("error"))
    def error(self, row: OutcomeModel) -> str:
        return f"{row.error_type}: {row.error_message}" if row.error_type else "-"

    @admin.display(description=_("answer"))
    def answer(self, row: OutcomeModel) -> SafeString | str:
        return preformatted(row.response_content)


class RoundInline(Figures, ViewOnly, admin.StackedInline):
    model = InvocationRound
    extra = 0
    verbose_name_plural = _("Rounds: the calls to the provider")
    fields = readonly_fields = (
        "badge",
        "provider_name",
        "model",
        "stop_reason",
        "tokens",
        "cost",
        "latency_ms",
        "error",
        "messages_sent",
        "tools_sent",
        "parameters_sent",
        "answer",
        "calls_made",
    )

    @admin.display(description=_("cost"))
    def cost(self, row: OutcomeModel) -> str:
        if isinstance(row, InvocationRound) and row.cost_usd is None and row.charged_usd:
            return gettext("unknown, counted as %(charged)s") % {"charged": format_usd(row.charged_usd)}
        return super().cost(row)

    def get_queryset(self, request: HttpRequest) -> QuerySet[InvocationRound]:
        return super().get_queryset(request).prefetch_related("tool_calls")

    @admin.display(description=_("tool calls"))
    def calls_made(self, row: InvocationRound) -> SafeString | str:
        """Each with what it was given, what the model was told, and for staff what went wrong."""
        calls = [(call, _shown(call)) for call in row.tool_calls.all()]
        template = "admin/zango_ai/invocation/tool_calls.html"
        return render_to_string(template, {"calls": calls}) if calls else "-"

    @admin.display(description=_("messages sent"))
    def messages_sent(self, row: InvocationRound) -> SafeString | str:
        return preformatted(row.request_messages)

    @admin.display(description=_("tools sent"))
    def tools_sent(self, row: InvocationRound) -> str:
        tools = row.request_tools if isinstance(row.request_tools, list) else []  # too many are cut to a note
        return ", ".join(tool["name"] for tool in tools) or "-"

    @admin.display(description=_("parameters sent"))
    def parameters_sent(self, row: InvocationRound) -> SafeString | str:
        return preformatted(row.request_params)


class FileInline(ViewOnly, admin.TabularInline):
    model = InvocationFile
    extra = 0
    verbose_name_plural = _("Files that went along")
    fields = readonly_fields = ("content", "media_type", "size", "sha256")

    @admin.display(description=_("file"))
    def content(self, row: InvocationFile) -> SafeString | str:
        if row.source == InvocationFile.Source.URL:
            # Shown, and not made a link: nobody knows what is there by now.
            return f"{row.filename}: {row.url}"
        if not row.file:
            return gettext("%(name)s (could not be stored)") % {"name": row.filename}
        where = reverse("admin:zango_ai_invocation_file", args=[row.invocation_id, row.pk])
        return format_html('<a href="{}" download>{}</a>', where, row.filename)

    @admin.display(description=_("size"))
    def size(self, row: InvocationFile) -> str:
        return "-" if row.size_bytes is None else filesizeformat(row.size_bytes)


@admin.register(Invocation)
class InvocationAdmin(Figures, ViewOnly, admin.ModelAdmin):
    list_display = [
        "id",
        "badge",
        "started_at",
        "agent_name",
        "provider_and_model",
        "tokens",
        "cost",
        "latency_ms",
        "triggered_by",
    ]
    list_filter = ["status", "triggered_by", "agent_name", "provider_name"]
    search_fields = ["=run_id", "agent_name", "user_ref"]
    show_full_result_count = False
    inlines = [FileInline, RoundInline]
    fieldsets = [
        (None, {"fields": ["badge", "run_id", "agent_name", "provider_and_model", "error"]}),
        (_("Used"), {"fields": ["tokens", "cached", "cost", "latency_ms", "rounds_count"]}),
        (
            _("Asked by"),
            {"fields": ["triggered_by", "user_ref", "session_id", "celery_task_id", "started_at", "finished_at"]},
        ),
        (_("Sent"), {"fields": ["system_prompt", "system_text", "user_prompt", "user_text", "given"]}),
        (_("Received"), {"fields": ["answer"]}),
    ]

    # Nobody can change it, so Django's admin shows every field for reading; those made here it must be told of.
    readonly_fields = (
        "badge",
        "provider_and_model",
        "error",
        "tokens",
        "cached",
        "cost",
        "system_prompt",
        "system_text",
        "user_prompt",
        "user_text",
        "given",
        "answer",
    )

    class Media:
        css = {"all": ["zango_ai/admin.css"]}

    def get_urls(self) -> list[Any]:
        view = self.admin_site.admin_view(self.download)
        name = "zango_ai_invocation_file"
        return [path("<int:invocation_id>/files/<int:pk>/", view, name=name), *super().get_urls()]

    def download(self, request: HttpRequest, invocation_id: int, pk: int) -> FileResponse:
        """The content of a file that an agent was sent: to be saved, never to be shown by the browser."""
        if not (self.has_view_permission(request) and request.user.has_perm("zango_ai.view_invocationfile")):
            raise PermissionDenied
        row = get_object_or_404(InvocationFile, pk=pk, invocation=invocation_id)
        try:
            content = row.file.open("rb")
        except Exception as exc:  # never stored, no longer there, or its storage is away
            raise Http404("The content of this file is not in the storage.") from exc
        headers = {
            "X-Content-Type-Options": "nosniff",
            "Content-Security-Policy": "sandbox; default-src 'none'",
            "Cache-Control": "private, no-store",
        }
        kind = "application/octet-stream"
        return FileResponse(content, as_attachment=True, filename=row.filename, content_type=kind, headers=headers)

    @admin.display(description=_("provider / model"))
    def provider_and_model(self, run: Invocation) -> str:
        return f"{run.provider_name or '-'} / {run.model or '-'}"

    @admin.display(description=_("cached, read / written"))
    def cached(self, run: Invocation) -> str:
        return f"{run.cache_read_tokens} / {run.cache_creation_tokens}"

    @admin.display(description=_("system prompt"))
    def system_prompt(self, run: Invocation) -> str:
        return _version(run.system_prompt_name, run.system_prompt_version)

    @admin.display(description=_("user prompt"))
    def user_prompt(self, run: Invocation) -> str:
        return _version(run.user_prompt_name, run.user_prompt_version)

    @admin.display(description=_("system text"))
    def system_text(self, run: Invocation) -> SafeString | str:
        return preformatted(run.rendered_system_prompt)

    @admin.display(description=_("user text"))
    def user_text(self, run: Invocation) -> SafeString | str:
        return preformatted(run.rendered_user_prompt)

    @admin.display(description=_("variables"))
    def given(self, run: Invocation) -> SafeString | str:
        values = {"user": run.variables, "system": run.system_variables}
        return preformatted({name: value for name, value in values.items() if value is not None})


def _shown(call: ToolCall) -> list[tuple[str, SafeString | str]]:
    parts = (
        (gettext("arguments"), call.arguments),
        (gettext("told to the model"), call.result),
        (gettext("error"), call.error_message),
        (gettext("traceback"), call.traceback),
    )
    return [(name, preformatted(value)) for name, value in parts if value not in (None, "")]


def _version(name: str, number: int | None) -> str:
    return f"{name} v{number}" if name else "-"
