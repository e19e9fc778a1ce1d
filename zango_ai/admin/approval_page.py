"""The page that decides about the tool calls of one run, and shows how it went on."""

from __future__ import annotations

from collections.abc import Mapping

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from .. import tenancy
from ..exceptions import NotAwaitingApproval, ZangoAIError
from ..ledger import stored_runs
from ..models import AgentConfig, Invocation, ToolCall
from ..runs.approval import Approval
from . import components, formats, panel
from .approval import ToolCallAdmin, may_read
from .approval_decisions import decide, is_waiting, why_not
from .approval_form import DecisionForm, read_all

_WORKING = (Invocation.Status.QUEUED, Invocation.Status.RUNNING)


class ApprovalPage:
    """One request to the page of a run."""

    def __init__(self, pages: ToolCallAdmin, request: HttpRequest, pk: int) -> None:
        self._pages, self._request = pages, request
        self._run = run = get_object_or_404(Invocation, pk=pk)
        calls = ToolCall.objects.filter(round__invocation=run, expires_at__isnull=False)
        self._cards = pages.cards(request, calls.order_by("-round__number", "position"))
        self._waiting = [card for card in self._cards if _is_waiting(run, card.call)]
        agent = AgentConfig.objects.filter(pk=run.agent_id or 0).first()
        self._obstacle = why_not(request, run, agent)

    def respond(self) -> HttpResponse:
        is_posted = self._request.method == "POST"
        if is_posted and self._obstacle:
            raise PermissionDenied(self._obstacle)
        if is_posted and not self._waiting:
            return self._already_decided()
        if not self._obstacle:
            self._add_forms(is_posted=is_posted)
        if is_posted:
            approvals = read_all([card.form for card in self._waiting if card.form])
            if approvals is not None:
                return self._decide(approvals)
        return self._page(is_checked=is_posted)

    def _add_forms(self, *, is_posted: bool) -> None:
        data, originals = None, {}
        if is_posted:
            data = self._request.POST
            stored = stored_runs.find(tenancy.current_schema(), self._run.run_id)
            originals = {call["uid"]: call["arguments"] for call in stored.undecided} if stored else {}
        for card in self._waiting:
            card.form = DecisionForm(card.call, card.tool, data, originals.get(str(card.call.uid)))

    def _decide(self, approvals: Mapping[str, Approval]) -> HttpResponse:
        try:
            is_queued = decide(self._request, self._run, approvals)
        except NotAwaitingApproval:
            return self._already_decided()
        except (ZangoAIError, ValueError, TypeError) as exc:
            text = gettext("Nothing was decided: %(error)s")
            if not is_waiting(self._run):
                text = gettext("The run failed: %(error)s")
            messages.error(self._request, text % {"error": exc})
        else:
            text = gettext("Your decision is stored. A worker continues the run.")
            text_here = gettext("Your decision is stored, and the run went on.")
            messages.success(self._request, text if is_queued else text_here)
        return self._redirect()

    def _already_decided(self) -> HttpResponse:
        """Two people decided at once: the second one is told, and sees who was first."""
        text = gettext("The run does not wait any more, so your decision was not used. See below who decided.")
        messages.warning(self._request, text)
        return self._redirect()

    def _redirect(self) -> HttpResponse:
        return HttpResponseRedirect(self._pages.panel_url("approval", self._run.pk))

    def _page(self, *, is_checked: bool) -> HttpResponse:
        run, pages, site = self._run, self._pages, self._pages.admin_site
        may_view_run = panel.has_page(self._request, site, Invocation)
        may_view_agent = run.agent_id is not None and panel.has_page(self._request, site, AgentConfig)
        context = {
            "eyebrow": _("Approval"),
            "run": run,
            "figures": [
                (_("For"), run.user_ref or formats.NOTHING),
                (_("Asked"), formats.when(run.started_at or run.created_at)),
                (_("Run"), components.badge(run.status, run.get_status_display())),
            ],
            "waiting": self._waiting,
            "decided": [card for card in self._cards if card not in self._waiting],
            "obstacle": self._obstacle if self._waiting else "",
            "is_checked": is_checked,
            "is_working": run.status in _WORKING,
            "is_readable": may_read(self._request),
            "agent_url": pages.panel_url("agentconfig_change", run.agent_id) if may_view_agent else "",
            "invocation_url": pages.panel_url("invocation_change", run.pk) if may_view_run else "",
        }
        return pages.panel_page(self._request, "admin/zango_ai/toolcall/run.html", run.agent_name, context)


def _is_waiting(run: Invocation, call: ToolCall) -> bool:
    is_open = call.status == ToolCall.Status.AWAITING_APPROVAL and call.decided_at is None
    return is_open and run.status == Invocation.Status.AWAITING_APPROVAL
