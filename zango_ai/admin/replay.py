"""Replay runs from their pages, and compare the answers."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _

from .. import redaction
from ..exceptions import RunNotFound, ZangoAIError
from ..models import AgentConfig, Invocation
from ..runs import recorded_run, replay_batch
from ..runs.replay_comparison import Comparison
from .panel import PanelAdmin
from .replay_form import MAX_RUNS, BatchForm, ReplayForm

_TEMPLATES = "admin/zango_ai/invocation"
_MAX_EARLIER = 20
_MAX_SECONDS = 45.0
"""A batch starts no further run after this time: web servers end requests that take long."""
_RUN_FIELDS = (
    *("run_id", "agent", "agent_name", "provider_name", "model", "status", "payload_removed_at", "cost_usd"),
    *("system_prompt_name", "user_prompt_name", "system_prompt_version", "user_prompt_version"),
    *("input_tokens", "output_tokens", "latency_ms", "response_content", "rendered_user_prompt"),
)


class Replays:
    """One request to the pages of replays. ``InvocationReplay.panel_urls()`` has its views."""

    def __init__(self, pages: PanelAdmin, request: HttpRequest) -> None:
        if not request.user.has_perm("zango_ai.view_payload"):
            raise PermissionDenied
        self._pages, self._request = pages, request

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
        try:
            comparison = Comparison.read(pk)
        except RunNotFound as exc:
            raise Http404(str(exc)) from exc
        title = gettext("Replay of invocation %(id)s") % {"id": comparison.original.pk}
        context = {
            "comparison": comparison,
            "figures_of_both": list(_figures(comparison)),
            "is_redacted": redaction.is_on(),
            "eyebrow": gettext("Invocation %(id)s") % {"id": pk},
        }
        return self._page("comparison", title, context)

    def batch(self) -> HttpResponse:
        """The form for the last runs of an agent (``?agent=``), or the results of a batch (``?replays=``)."""
        if "replays" in self._request.GET:
            return self._results(_numbers(self._request.GET["replays"]))
        agents = AgentConfig.objects.select_related("system_prompt", "user_prompt")
        agent = get_object_or_404(agents, pk=next(iter(_numbers(self._request.GET.get("agent", ""))), 0))
        runs = replay_batch.last_runs(agent.name, MAX_RUNS)
        names = tuple(prompt.name if prompt else "" for prompt in (agent.system_prompt, agent.user_prompt))
        form = BatchForm((names[0], names[1]), self._request.POST or None)
        if runs and form.is_bound and form.is_valid():
            return self._run_batch(runs[: form.cleaned_data["count"]], form)
        context = {
            "agent": agent,
            "form": form,
            "runs": runs,
            "recorded_usd": sum(run.cost_usd or 0 for run in runs),
            "is_redacted": redaction.is_on(),
            "eyebrow": agent.name,
        }
        return self._page("replay_batch", gettext("Replay the last runs"), context)

    def _run_batch(self, runs: Sequence[Invocation], form: ReplayForm) -> HttpResponse:
        """Replay the runs within this request."""
        started, done = time.monotonic(), []
        ids = [run.pk for run in runs]
        for each in replay_batch.replay_each(ids, form.overrides(), replayed_by=str(self._request.user.pk)):
            done.append(each)
            if each.error is not None:
                self._warn(each.original_id, each.error)
            if time.monotonic() - started > _MAX_SECONDS:
                break
        left = len(ids) - len(done)
        if left:
            text = ngettext("%(left)s run was not replayed.", "%(left)s runs were not replayed.", left)
            messages.warning(self._request, text % {"left": left})
        replays = ",".join(str(each.replay_id) for each in done if each.replay_id is not None)
        url = self._pages.panel_url("invocation_replays")
        return HttpResponseRedirect(f"{url}?replays={replays}" if replays else self._request.get_full_path())

    def _warn(self, original_id: int, error: ZangoAIError) -> None:
        messages.error(self._request, f"{gettext('Invocation')} {original_id}: {error}")

    def _results(self, replay_ids: Sequence[int]) -> HttpResponse:
        comparisons = Comparison.read_many(replay_ids[:MAX_RUNS])
        if not comparisons:
            raise Http404
        costs = [(each.original.cost_usd or 0, each.replay.cost_usd or 0) for each in comparisons]
        context = {
            "comparisons": comparisons,
            "agent_id": comparisons[0].replay.agent_id,
            "same": sum(each.is_same for each in comparisons),
            "diverged": sum(bool(each.diverged) for each in comparisons),
            "original_usd": sum(old for old, _new in costs),
            "replay_usd": sum(new for _old, new in costs),
            "has_unknown_cost": any(each.extra_cost_usd is None for each in comparisons),
            "eyebrow": comparisons[0].replay.agent_name,
        }
        return self._page("replay_results", gettext("Replayed runs"), context)

    def _page(self, template: str, title: str, context: dict[str, Any]) -> HttpResponse:
        return self._pages.panel_page(self._request, f"{_TEMPLATES}/{template}.html", title, context)

    def _redirect(self, name: str, pk: int) -> HttpResponse:
        return HttpResponseRedirect(self._pages.panel_url(name, pk))


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


def _numbers(text: str) -> list[int]:
    return [int(part) for part in text.split(",") if part.isascii() and part.isdecimal() and len(part) < 19]
