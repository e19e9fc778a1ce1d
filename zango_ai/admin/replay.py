"""Replay a run from its page, and compare the answers."""

from __future__ import annotations

from typing import Any

from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.template.response import TemplateResponse
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from .. import redaction
from ..exceptions import RunNotFound
from ..models import Invocation
from ..runs import recorded_run, replay_batch
from ..runs.replay_comparison import Comparison
from .panel import PanelAdmin
from .replay_form import ReplayForm

_TEMPLATES = "admin/zango_ai/invocation"
_MAX_EARLIER = 20
_RUN_FIELDS = (
    *("run_id", "agent", "agent_name", "provider_name", "model", "status", "payload_removed_at", "cost_usd"),
    *("system_prompt_name", "user_prompt_name", "system_prompt_version", "user_prompt_version"),
    *("input_tokens", "output_tokens", "latency_ms", "response_content", "rendered_user_prompt"),
)


class ReplayPages:
    """One request to a page of replays. ``InvocationReplay.panel_urls()`` has the views."""

    def __init__(self, pages: PanelAdmin, request: HttpRequest) -> None:
        if not request.user.has_perm("zango_ai.view_payload"):
            raise PermissionDenied
        self._pages, self._request = pages, request

    def _page(self, template: str, title: str, context: dict[str, Any]) -> HttpResponse:
        return self._pages.panel_page(self._request, f"{_TEMPLATES}/{template}.html", title, context)

    def _redirect(self, name: str, *args: Any) -> HttpResponse:
        return HttpResponseRedirect(self._pages.panel_url(name, *args))


class Replays(ReplayPages):
    """The replays of one run."""

    def one(self, pk: int) -> HttpResponse:
        """The form for one run, and its earlier replays. A POST replays it, and shows the comparison."""
        run: Invocation = get_object_or_404(Invocation.objects.only(*_RUN_FIELDS), pk=pk)
        problem = recorded_run.problem_of(
            {"status": run.status, "agent_id": run.agent_id, "payload_removed_at": run.payload_removed_at}
        )
        names = (run.system_prompt_name, run.user_prompt_name)
        form = ReplayForm(names, self._request.POST or None, recorded=run.model)
        if not problem and form.is_bound and form.is_valid():
            replayed = replay_batch.replay_each([pk], form.overrides(), replayed_by=str(self._request.user.pk))
            for each in replayed:
                if each.replay_id is not None:
                    return self._redirect("invocation_comparison", each.replay_id)
                problem = str(each.error)
        replays = Invocation.objects.filter(replay_of=pk).values_list("pk", flat=True)[:_MAX_EARLIER]
        context = {
            "run": run,
            "form": form,
            "problem": problem,
            "earlier": Comparison.read_many(list(replays)),
            "is_redacted": redaction.is_on(),
            "eyebrow": gettext("Invocation %(id)s") % {"id": run.pk},
        }
        return self._page("replay", gettext("Replay"), context)

    def comparison(self, pk: int) -> HttpResponse:
        """A replay beside the run that it repeats."""
        comparison = _comparison_or_404(pk)
        title = gettext("Replay of invocation %(id)s") % {"id": comparison.original.pk}
        context = {
            "comparison": comparison,
            "figures_of_both": list(_figures(comparison)),
            "is_redacted": redaction.is_on(),
            "eyebrow": gettext("Invocation %(id)s") % {"id": pk},
        }
        return self._page("comparison", title, context)

    def answers(self, pk: int) -> HttpResponse:
        """Both answers, as the piece of HTML that unfolds below a row."""
        return TemplateResponse(
            self._request, f"{_TEMPLATES}/replay_answers.html", {"comparison": _comparison_or_404(pk)}
        )


def _comparison_or_404(replay_id: int) -> Comparison:
    try:
        return Comparison.read(replay_id)
    except RunNotFound as exc:
        raise Http404(str(exc)) from exc


def _figures(comparison: Comparison) -> list[dict[str, Any]]:
    """What was the same and what was different about both runs, a row each."""
    original, replayed = comparison.original, comparison.replay
    rows = [
        (_("Provider"), original.provider_name, replayed.provider_name),
        (_("Model"), original.model, replayed.model),
        (_("System prompt"), *(_version(run, "system") for run in (original, replayed))),
        (_("User prompt"), *(_version(run, "user") for run in (original, replayed))),
    ]
    used = [(name, old, new) for name, old, new in rows if old or new]
    return [{"name": name, "old": old, "new": new, "is_changed": old != new} for name, old, new in used]


def _version(run: Invocation, role: str) -> str:
    name, number = getattr(run, f"{role}_prompt_name"), getattr(run, f"{role}_prompt_version")
    if not name:
        return ""
    return f"{name} v{number}" if number else gettext("%(name)s (draft)") % {"name": name}
