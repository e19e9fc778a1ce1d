"""Replay the last runs of an agent, and show what has become of them."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.contrib import messages
from django.core.exceptions import ImproperlyConfigured
from django.db.models import Count, Min, Q, Sum
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.utils.translation import gettext, ngettext

from .. import redaction
from ..models import AgentConfig, Invocation
from ..runs import queue, replay_batch
from ..runs.replay_batch import Replayed
from .replay import ReplayPages
from .replay_form import MAX_RUNS_HERE, MAX_RUNS_QUEUED, BatchForm
from .replay_results import BatchResults

_MAX_EARLIER = 10
_MAX_SECONDS = 45.0
"""A batch starts no further run after this time: web servers end requests that take long."""


class ReplayBatches(ReplayPages):
    """The batches of an agent. Workers execute them; without a queue, the request does."""

    def form(self) -> HttpResponse:
        """The form for the last runs of an agent (``?agent=``). A POST starts a batch."""
        has_workers = queue.has_workers()
        max_runs = MAX_RUNS_QUEUED if has_workers else MAX_RUNS_HERE
        agent = _agent_or_404(self._request)
        runs = replay_batch.last_runs(agent.name, max_runs)
        names = tuple(prompt.name if prompt else "" for prompt in (agent.system_prompt, agent.user_prompt))
        form = BatchForm((names[0], names[1]), self._request.POST or None, max_runs=max_runs)
        if runs and agent.is_enabled and form.is_bound and form.is_valid():
            batch = _batch_of(self._request)
            if Invocation.objects.filter(replay_batch=batch).exists():
                return self._redirect("invocation_replay_batch", batch)
            return self._start(runs[: form.cleaned_data["count"]], form, batch, has_workers=has_workers)
        recorded_usd = sum((run.cost_usd or Decimal(0) for run in runs), Decimal(0))
        context = {
            "agent": agent,
            "batch": uuid.uuid4(),
            "form": form,
            "runs": runs,
            "recorded_usd": recorded_usd,
            "average_usd": recorded_usd / max(len(runs), 1),
            "has_workers": has_workers,
            "earlier": _earlier_batches(agent),
            "is_redacted": redaction.is_on(),
            "eyebrow": agent.name,
        }
        return self._page("replay_batch", gettext("Replay the last runs"), context)

    def results(self, batch: UUID) -> HttpResponse:
        """The replays of a batch beside the runs that they repeat. ``?show=`` chooses some."""
        results = BatchResults.read(batch)
        if results is None:
            raise Http404(gettext("There is no such batch of replays."))
        shown = self._request.GET.get("show", "")
        context = {
            "batch": batch,
            "results": results,
            "views": results.views(shown),
            "comparisons": results.chosen(shown),
            "shown": shown,
            "advice": _advice() if results.is_stalled else "",
            "eyebrow": results.agent_name,
        }
        return self._page("replay_results", gettext("Replayed runs"), context)

    def cancel(self, batch: UUID) -> HttpResponse:
        """Cancel the replays that have not ended."""
        if self._request.method == "POST":
            count = replay_batch.cancel(batch)
            text = ngettext("%(count)s replay was cancelled.", "%(count)s replays were cancelled.", count)
            messages.success(self._request, text % {"count": count})
        return self._redirect("invocation_replay_batch", batch)

    def _start(
        self, runs: Sequence[Invocation], form: BatchForm, batch: UUID, *, has_workers: bool
    ) -> HttpResponse:
        started, done = time.monotonic(), 0
        is_logged = False
        for each in self._replayed(runs, form, batch, has_workers=has_workers):
            done += 1
            is_logged = is_logged or each.replay_id is not None
            if each.error is not None:
                messages.error(self._request, f"{gettext('Invocation')} {each.original_id}: {each.error}")
            if time.monotonic() - started > _MAX_SECONDS:
                break
        left = len(runs) - done
        if left:
            text = ngettext("%(left)s run was not replayed.", "%(left)s runs were not replayed.", left)
            messages.warning(self._request, text % {"left": left})
        if is_logged:
            return self._redirect("invocation_replay_batch", batch)
        return HttpResponseRedirect(self._request.get_full_path())

    def _replayed(
        self, runs: Sequence[Invocation], form: BatchForm, batch: UUID, *, has_workers: bool
    ) -> Iterator[Replayed]:
        """Queue the replays, or execute them here."""
        overrides, user = form.overrides(), str(self._request.user.pk)
        if has_workers:
            return replay_batch.enqueue_each(runs, overrides, replayed_by=user, batch_id=batch)
        ids = [run.pk for run in runs]
        return replay_batch.replay_each(ids, overrides, replayed_by=user, batch_id=batch)


def _agent_or_404(request: HttpRequest) -> AgentConfig:
    """The agent of ``?agent=``."""
    key = request.GET.get("agent", "")
    is_key = key.isascii() and key.isdecimal() and len(key) < 19
    agents = AgentConfig.objects.select_related("system_prompt", "user_prompt")
    agent: AgentConfig = get_object_or_404(agents, pk=int(key) if is_key else 0)
    return agent


def _batch_of(request: HttpRequest) -> UUID:
    """The batch's ID, which came with the form: a form that is sent twice starts one batch."""
    try:
        return UUID(request.POST.get("batch", ""))
    except ValueError:
        return uuid.uuid4()


def _earlier_batches(agent: AgentConfig) -> list[dict[str, Any]]:
    """The last batches of the agent, newest first."""
    is_unfinished = Q(status__in=replay_batch.UNFINISHED)
    rows = Invocation.objects.filter(replay_batch__isnull=False, agent=agent).values("replay_batch")
    figures = rows.annotate(
        started=Min("created_at"),
        runs=Count("pk"),
        unfinished=Count("pk", filter=is_unfinished),
        spent_usd=Sum("cost_usd"),
    )
    return [dict(row) for row in figures.order_by("-started")[:_MAX_EARLIER]]


def _advice() -> str:
    """Why no worker may execute the replays, and what to do."""
    try:
        return queue.configured().advice_if_waiting
    except ImproperlyConfigured as exc:
        return str(exc)
