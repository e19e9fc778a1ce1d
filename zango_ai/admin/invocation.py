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
from . import components
from .access import ViewOnly, preformatted
from .invocation_export import InvocationExport


class OutcomeColumns:
    """Columns that rounds and whole runs share."""

    @admin.display(description=_("status"), ordering="status")
    def badge(self, row: Invocation | InvocationRound) -> SafeString:
        return components.badge(row.status, row.get_status_display())

    @admin.display(description=_("tokens (in / out)"))
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


class RoundInline(OutcomeColumns, ViewOnly, admin.StackedInline):
    model = InvocationRound
    extra = 0
    verbose_name_plural = _("Rounds (requests to the provider)")
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
        "tool_calls_made",
    )

    @admin.display(description=_("cost"))
    def cost(self, row: OutcomeModel) -> str:
        if isinstance(row, InvocationRound) and row.cost_usd is None and row.charged_usd:
            return gettext("unknown (charged as %(charged)s)") % {"charged": format_usd(row.charged_usd)}
        return super().cost(row)

    def get_queryset(self, request: HttpRequest) -> QuerySet[InvocationRound]:
        return super().get_queryset(request).prefetch_related("tool_calls")

    @admin.display(description=_("tool calls"))
    def tool_calls_made(self, row: InvocationRound) -> SafeString | str:
        """Each tool call with its arguments, its result and any error or traceback."""
        calls = [(call, _details(call)) for call in row.tool_calls.all()]
        template = "admin/zango_ai/invocation/tool_calls.html"
        return render_to_string(template, {"calls": calls}) if calls else "-"

    @admin.display(description=_("messages sent"))
    def messages_sent(self, row: InvocationRound) -> SafeString | str:
        return preformatted(row.request_messages)

    @admin.display(description=_("tools sent"))
    def tools_sent(self, row: InvocationRound) -> str:
        tools = (
            row.request_tools if isinstance(row.request_tools, list) else []
        )  # an oversized list is stored as a note
        return ", ".join(tool["name"] for tool in tools) or "-"

    @admin.display(description=_("parameters sent"))
    def parameters_sent(self, row: InvocationRound) -> SafeString | str:
        return preformatted(row.request_params)


class FileInline(ViewOnly, admin.TabularInline):
    model = InvocationFile
    extra = 0
    verbose_name_plural = _("Files sent")
    fields = readonly_fields = ("content", "media_type", "size", "sha256")

    @admin.display(description=_("file"))
    def content(self, row: InvocationFile) -> SafeString | str:
        if row.source == InvocationFile.Source.URL:
            # Not a link: nobody knows what the URL serves by now.
            return f"{row.filename}: {row.url}"
        if not row.file:
            return gettext("%(name)s (not stored)") % {"name": row.filename}
        url = reverse("admin:zango_ai_invocation_file", args=[row.invocation_id, row.pk])
        return format_html('<a href="{}" download>{}</a>', url, row.filename)

    @admin.display(description=_("size"))
    def size(self, row: InvocationFile) -> str:
        return "-" if row.size_bytes is None else filesizeformat(row.size_bytes)


@admin.register(Invocation)
class InvocationAdmin(InvocationExport):
    inlines = [FileInline, RoundInline]
    fieldsets = [
        (None, {"fields": ["badge", "run_id", "agent_name", "provider_and_model", "error"]}),
        (_("Usage"), {"fields": ["tokens", "cached", "cost", "latency_ms", "rounds_count"]}),
        (
            _("Origin"),
            {"fields": ["triggered_by", "user_ref", "session_id", "celery_task_id", "started_at", "finished_at"]},
        ),
        (_("Request"), {"fields": ["system_prompt", "system_text", "user_prompt", "user_text", "sent_variables"]}),
        (_("Response"), {"fields": ["answer"]}),
    ]

    # Django shows every model field read-only without change permission. Computed fields must be listed.
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
        "sent_variables",
        "answer",
    )

    error = OutcomeColumns.error
    answer = OutcomeColumns.answer

    def get_urls(self) -> list[Any]:
        view = self.admin_site.admin_view(self.download)
        name = "zango_ai_invocation_file"
        return [path("<int:invocation_id>/files/<int:pk>/", view, name=name), *super().get_urls()]

    def download(self, request: HttpRequest, invocation_id: int, pk: int) -> FileResponse:
        """Send the content of a file as a download. The browser must never display it."""
        if not (self.has_view_permission(request) and request.user.has_perm("zango_ai.view_invocationfile")):
            raise PermissionDenied
        row = get_object_or_404(InvocationFile, pk=pk, invocation=invocation_id)
        try:
            content = row.file.open("rb")
        except Exception as exc:  # never stored, deleted, or the storage is unavailable
            raise Http404("The content of this file is not available in the storage.") from exc
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

    @admin.display(description=_("cached tokens (read / written)"))
    def cached(self, run: Invocation) -> str:
        return f"{run.cache_read_tokens} / {run.cache_creation_tokens}"

    @admin.display(description=_("system prompt"))
    def system_prompt(self, run: Invocation) -> str:
        return _version(run.system_prompt_name, run.system_prompt_version)

    @admin.display(description=_("user prompt"))
    def user_prompt(self, run: Invocation) -> str:
        return _version(run.user_prompt_name, run.user_prompt_version)

    @admin.display(description=_("rendered system prompt"))
    def system_text(self, run: Invocation) -> SafeString | str:
        return preformatted(run.rendered_system_prompt)

    @admin.display(description=_("rendered user prompt"))
    def user_text(self, run: Invocation) -> SafeString | str:
        return preformatted(run.rendered_user_prompt)

    @admin.display(description=_("variables"))
    def sent_variables(self, run: Invocation) -> SafeString | str:
        values = {"user": run.variables, "system": run.system_variables}
        return preformatted({name: value for name, value in values.items() if value is not None})


def _details(call: ToolCall) -> list[tuple[str, SafeString | str]]:
    parts = (
        (gettext("arguments"), call.arguments),
        (gettext("result sent to the model"), call.result),
        (gettext("error"), call.error_message),
        (gettext("traceback"), call.traceback),
    )
    return [(name, preformatted(value)) for name, value in parts if value not in (None, "")]


def _version(name: str, number: int | None) -> str:
    return f"{name} v{number}" if name else "-"
