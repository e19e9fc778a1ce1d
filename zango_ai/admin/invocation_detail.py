"""The page of one invocation: the conversation first, then prompt, cost, timeline, metadata and files."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.core.exceptions import PermissionDenied
from django.db.models import Model, Prefetch, Q
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.urls import URLPattern
from django.utils.translation import gettext as _

from ..ledger.run_filters import is_text
from ..models import (
    AgentConfig,
    Invocation,
    InvocationFile,
    InvocationRound,
    MemorySession,
    PromptVersion,
    Provider,
    ToolCall,
)
from . import components, formats, invented_tools, invocation_conversation, invocation_curl, invocation_python
from .invocation_errors import explain
from .invocation_list import InvocationList
from .invocation_timeline import timeline
from .legal_hold import switch_hold

_RUN_TEXTS = (
    *("rendered_system_prompt", "rendered_user_prompt", "variables", "system_variables", "response_content"),
    *("error_message", "resume_state"),
)
_ROUND_TEXTS = (
    *("request_messages", "request_tools", "request_params", "response_content", "response_tool_calls"),
    "error_message",
)
_CALL_TEXTS = (
    *("arguments", "approved_arguments", "description", "result", "error_message", "traceback", "decision"),
)
_RUNNING = (Invocation.Status.QUEUED, Invocation.Status.RUNNING)


class InvocationDetail(InvocationList):
    """The part of ``InvocationAdmin`` that shows one run."""

    def panel_urls(self) -> list[URLPattern]:
        hold = self.panel_path("<int:pk>/hold/", self.hold_view, "invocation_hold", permission="change_invocation")
        return [hold, *super().panel_urls()]

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        """The run. Without ``view_payload``, its texts are not even read."""
        if not self.has_view_permission(request) or request.method == "POST":
            raise PermissionDenied
        may_read = request.user.has_perm("zango_ai.view_payload")
        run = self._run(object_id, may_read)
        if run is None:
            return super().change_view(request, object_id, form_url, extra_context)
        rounds, files = _rounds(run, may_read), list(run.files.all())
        context = {
            **{"run": run, "rounds": rounds, "files": files, "may_read": may_read, "run_figures": _figures(run)},
            "is_running": run.status in _RUNNING,
            "retries": sum(bool(round_.error_type) for round_ in rounds[:-1]),
            "explanation": self._explanation(request, run),
            "conversation": (invocation_conversation.read if may_read else invocation_conversation.outline)(
                run, rounds
            ),
            "timeline": timeline(rounds),
            "session": _session(run),
            **_neighbours(run),
            **self._links(request, run),
            **(self._code(request, run, rounds, files) if may_read else {}),
            **(extra_context or {}),
        }
        title = run.agent_name or _("Direct call of %(provider)s") % {"provider": run.provider_name or "?"}
        return self.panel_page(request, "admin/zango_ai/invocation/detail.html", title, context)

    def _run(self, object_id: str, may_read: bool) -> Invocation | None:
        if not (object_id.isascii() and object_id.isdecimal() and len(object_id) < 19):
            return None
        hidden = ("resume_state",) if may_read else _RUN_TEXTS
        return Invocation.objects.defer(*hidden).filter(pk=int(object_id)).first()

    def _explanation(self, request: HttpRequest, run: Invocation) -> dict[str, Any] | None:
        """What the error means, and the page where to mend it, if the user may see that page."""
        found = explain(run.status, run.error_type) if run.error_type or run.status in Invocation.ERRORS else None
        if found is None:
            return None
        model = found.page.partition("_")[0]
        may_open = bool(found.page) and self._may_view(request, model)
        return {"what": found.what, "remedy": found.remedy} | (
            {"url": self.panel_url(found.page), "action": found.action} if may_open else {}
        )

    def _may_view(self, request: HttpRequest, model_name: str) -> bool:
        """Whether this admin site has pages of the model, and the user may see them."""
        pages = {model._meta.model_name: page for model, page in self.admin_site._registry.items()}
        return model_name in pages and bool(pages[model_name].has_view_permission(request))

    def _links(self, request: HttpRequest, run: Invocation) -> dict[str, Any]:
        may_hold = request.user.has_perm("zango_ai.change_invocation")
        is_waiting = run.status == Invocation.Status.AWAITING_APPROVAL
        return {
            "hold_url": self.panel_url("invocation_hold", run.pk) if may_hold else "",
            "approvals_url": self.panel_url("toolcall_changelist")
            if is_waiting and self._may_view(request, "toolcall")
            else "",
            "may_see_sessions": self._may_view(request, "memorysession"),
            "has_agent_page": self._may_view(request, "agentconfig") and _has_row(AgentConfig, run.agent_id),
            "has_original": _has_row(Invocation, run.replay_of_id),
            "may_save_files": request.user.has_perm("zango_ai.view_invocationfile"),
            "prompts": _prompts(run, is_linked=self._may_view(request, "prompt")),
        }

    def _code(
        self, request: HttpRequest, run: Invocation, rounds: Sequence[InvocationRound], files: list[InvocationFile]
    ) -> dict[str, Any]:
        if run.payload_removed_at:
            return {}
        key = rounds[0].provider_id if rounds and self._may_view(request, "provider") else None
        provider = None if key is None else Provider.objects.filter(pk=key).first()
        return {
            "python_code": invocation_python.call(run, rounds[0] if rounds else None, files),
            "curl_code": "" if provider is None else invocation_curl.curl(provider, rounds[0]),
        }

    def hold_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Put the run on legal hold, or end the hold (POST only)."""
        run = get_object_or_404(Invocation.objects.only("pk", "run_id", "agent_name", "is_on_hold"), pk=pk)
        return switch_hold(self, request, run, "invocation_change")


def _has_row(model: type[Model], key: int | None) -> bool:
    """Whether the row that the log refers to still exists."""
    return key is not None and model._default_manager.filter(pk=key).exists()


def _rounds(run: Invocation, may_read: bool) -> list[InvocationRound]:
    """The rounds with their tool calls: few queries, which also resolve the stored texts of all rounds."""
    calls, rounds = ToolCall.objects.order_by("position"), run.rounds.order_by("number")
    if not may_read:
        calls, rounds = calls.defer(*_CALL_TEXTS), rounds.defer(*_ROUND_TEXTS)
    found = list(rounds.prefetch_related(Prefetch("tool_calls", calls)))
    if not may_read:
        invented_tools.hide(found)
    return found


def _figures(run: Invocation) -> list[tuple[Any, Any]]:
    return [
        (_("Time"), formats.when(run.started_at or run.created_at)),
        (_("Model"), components.tag(run.model or formats.NOTHING, icon_name="cpu")),
        (_("Tokens"), f"{formats.count(run.input_tokens)} / {formats.count(run.output_tokens)}"),
        (_("Cost"), formats.usd(run.cost_usd)),
        (_("Latency"), formats.latency(run.latency_ms)),
        (_("Rounds"), formats.count(run.rounds_count)),
    ]


def _session(run: Invocation) -> MemorySession | None:
    if run.session_id is None or run.agent_id is None:
        return None
    return MemorySession.objects.filter(agent=run.agent_id, session_id=run.session_id).first()


def _neighbours(run: Invocation) -> dict[str, int | None]:
    """The runs of the session before and after this one, by one query. A replay is not part of the conversation."""
    if run.session_id is None:
        return {}
    runs = Invocation.objects.filter(is_text("session_id", run.session_id), agent=run.agent_id, replay_of=None)
    before, after = runs.filter(pk__lt=run.pk).order_by("-pk"), runs.filter(pk__gt=run.pk).order_by("pk")
    found = before.values_list("pk", flat=True)[:1].union(after.values_list("pk", flat=True)[:1])
    keys = list(found)
    return {
        "previous": next((key for key in keys if key < run.pk), None),
        "following": next((key for key in keys if key > run.pk), None),
    }


def _prompts(run: Invocation, *, is_linked: bool) -> list[dict[str, Any]]:
    """The names and versions of the prompts. ``prompt_id`` is set if the version still has a page."""
    used = [
        (_("System prompt"), run.system_prompt_name, run.system_prompt_version),
        (_("User prompt"), run.user_prompt_name, run.user_prompt_version),
    ]
    used = [each for each in used if each[1]]
    condition = Q()
    for _label, name, number in used:
        condition |= Q(prompt__name=name, version_number=number)
    keys: dict[Any, int] = {}
    if used and is_linked:
        rows = PromptVersion.objects.filter(condition).order_by()
        keys = {
            (name, number): pk for name, number, pk in rows.values_list("prompt__name", "version_number", "prompt")
        }
    return [
        {"label": label, "name": name, "number": number, "prompt_id": keys.get((name, number))}
        for label, name, number in used
    ]
