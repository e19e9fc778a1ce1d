"""The playground: try an agent, side by side with other prompt texts, models and providers.

Runs are real. They are logged with the staff user as ``user_ref``, and budgets and rate limits apply.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from typing import Any
from uuid import UUID

from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase, JsonResponse
from django.middleware.csrf import get_token
from django.shortcuts import get_object_or_404
from django.template.loader import render_to_string
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from ..agent import Agent, get_agent
from ..api import streams
from ..exceptions import DecisionNotAllowed, ZangoAIError
from ..models import AgentConfig, Invocation, Provider, ToolCall
from ..runs.background import get_run, uuid_of
from ..types import LLMResponse, LLMStreamChunk
from . import panel
from .approval_decisions import logged
from .panel import PanelAdmin
from .playground_form import ColumnForm, PlaygroundForm
from .playground_options import PlaygroundOptions
from .playground_results import Links, PlaygroundEvents, Results

Chunks = Generator[LLMStreamChunk, None, None]
_EVENT_STREAM = "text/event-stream"
_TO_DECIDE = ("zango_ai.decide_approval", "zango_ai.view_payload")
"""As in the approvals inbox: nobody decides about arguments that they may not read."""
_TEMPLATES = "admin/zango_ai/agentconfig"


class Playground:
    """One request to the playground of an agent. ``AgentViews.panel_urls()`` has its views."""

    def __init__(self, pages: PanelAdmin, request: HttpRequest, pk: int) -> None:
        self._pages, self._request = pages, request
        related = ("provider", "system_prompt__active_version", "user_prompt__active_version")
        self._agent: AgentConfig = get_object_or_404(AgentConfig.objects.select_related(*related), pk=pk)
        self._user_ref = str(request.user.pk)

    def page(self) -> HttpResponseBase:
        """The page. A POST runs the agent: one column as an event stream, or all of them into the page."""
        request, options = self._request, PlaygroundOptions.read(self._agent, self._user_ref)
        if request.method != "POST":
            return self._page(PlaygroundForm.build(options))
        if self._wants_events:
            return self._stream_column(options)
        form = PlaygroundForm.build(options, request.POST, request.FILES)
        if "run" not in request.POST:  # another number of columns, without JavaScript
            return self._page(form)
        if not form.is_valid():
            return self._page(form, is_checked=True)
        return self._page(form, is_checked=True, results=[self._run(form, column) for column in form.columns])

    def fields(self) -> HttpResponse:
        """The fields for the placeholders of the chosen texts."""
        form = PlaygroundForm.build(PlaygroundOptions.read(self._agent, self._user_ref), self._request.POST)
        return HttpResponse(render_to_string(f"{_TEMPLATES}/playground_variables.html", {"inputs": form.inputs}))

    def decide(self) -> HttpResponseBase:
        """Decide about the tool calls of an own run, which then goes on."""
        if not self._request.user.has_perms(_TO_DECIDE):
            raise PermissionDenied
        run, decisions, results = self._own_run(), self._decisions(), self._results()
        run_id = run.run_id
        decided_by = self._request.user.get_username()
        if self._wants_events:

            def begin() -> tuple[UUID, Chunks]:
                agent = self._deciding_agent(run_id)
                with logged(self._request, run, decisions):
                    return run_id, agent.resume_stream(run_id, decisions, decided_by=decided_by)

            return self._respond(results, begin)

        def resume() -> LLMResponse:
            agent = self._deciding_agent(run_id)
            with logged(self._request, run, decisions):
                return agent.resume(run_id, decisions, decided_by=decided_by)

        options = PlaygroundOptions.read(self._agent, self._user_ref)
        return self._page(PlaygroundForm.build(options), results=[_result(results, resume)])

    def _deciding_agent(self, run_id: UUID) -> Agent:
        """Raises DecisionNotAllowed: who uses the playground is the one who asked."""
        if self._agent.approval_by_another_person:
            raise DecisionNotAllowed(run_id, gettext("Another person can decide about the call under Approvals."))
        return get_agent(self._agent.name)

    def cancel(self) -> HttpResponse:
        """Stop an own run. The answer links to its invocation."""
        run = self._own_run()
        get_run(run.run_id).cancel()
        return HttpResponse(self._results().stopped(run.pk))

    def _page(
        self, form: PlaygroundForm, *, is_checked: bool = False, results: Sequence[dict[str, Any] | None] = ()
    ) -> HttpResponse:
        agent, pages = self._agent, self._pages
        shown = [*results, *[None] * (len(form.columns) - len(results))]
        may_view_log = panel.has_page(self._request, pages.admin_site, Invocation)
        context = {
            "agent": agent,
            "eyebrow": _("Playground"),
            "panel_lead": agent.description,
            "inputs": form.inputs,
            "columns": list(zip(form.columns, shown, strict=True)),
            "unused": form.unused,
            "count": form.count,
            "is_checked": is_checked,
            "agent_url": pages.panel_url("agentconfig_change", agent.pk),
            "models_url": pages.panel_url("agentconfig_models"),
            "fields_url": pages.panel_url("agentconfig_playground_fields", agent.pk),
            "cancel_url": pages.panel_url("agentconfig_playground_cancel", agent.pk),
            "invocations_url": pages.panel_url("invocation_changelist") + f"?agent_name={agent.name}"
            if may_view_log
            else "",
        }
        return pages.panel_page(self._request, f"{_TEMPLATES}/playground.html", agent.name, context)

    def _stream_column(self, options: PlaygroundOptions) -> HttpResponseBase:
        form = PlaygroundForm.build(options, self._request.POST, self._request.FILES, only=self._number)
        if not form.is_valid():
            return JsonResponse({"errors": form.errors()}, status=400)
        agent, arguments = self._prepared(form, form.columns[0])
        return self._respond(self._results(), lambda: agent().open_stream(**arguments))

    def _respond(self, results: Results, begin: Callable[[], tuple[UUID, Chunks]]) -> HttpResponseBase:
        """The run's chunks as events. An error before the first one is an answer of its own."""
        events = PlaygroundEvents(results)

        def chunks() -> Chunks:
            events.run_id, run = begin()
            return _after_start(run)

        try:
            return streams.respond(self._request, streams.Source.in_threads(chunks), events)
        except (ZangoAIError, ValueError, TypeError) as exc:
            return JsonResponse({"html": results.problem(exc)}, status=422)

    def _run(self, form: PlaygroundForm, column: ColumnForm) -> dict[str, Any]:
        """Run one column, without streaming."""
        agent, arguments = self._prepared(form, column)
        return _result(self._results(column.number), lambda: agent().run(**arguments))

    def _prepared(self, form: PlaygroundForm, column: ColumnForm) -> tuple[Callable[[], Agent], dict[str, Any]]:
        """The look-up of the agent with the column's settings, and the arguments of its run."""
        arguments = {**form.inputs.arguments(column), "user_ref": self._user_ref, "triggered_by": "user"}
        return lambda: get_agent(self._agent.name).with_overrides(column.overrides()), arguments

    def _results(self, number: int | None = None) -> Results:
        user, pages = self._request.user, self._pages
        may_decide = user.has_perms(_TO_DECIDE)
        may_view = panel.has_page(self._request, pages.admin_site, Invocation)
        providers: dict[str, str] = {}
        if panel.has_page(self._request, pages.admin_site, Provider):
            rows = Provider.objects.values_list("name", "pk")
            providers = {name: pages.panel_url("provider_change", key) for name, key in rows}
        links = Links(
            agent=pages.panel_url("agentconfig_change", self._agent.pk),
            providers=providers,
            decide=pages.panel_url("agentconfig_playground_decide", self._agent.pk) if may_decide else "",
            change=self._change_url if may_decide else lambda key: "",
            needs_other_person=self._agent.approval_by_another_person,
            invocation=lambda key: pages.panel_url("invocation_change", key) if may_view else "",
            csrf_token=get_token(self._request),
        )
        return Results(links, number or self._number)

    def _change_url(self, invocation_id: int) -> str:
        """The page that can also change the arguments of the run's tool calls, if this site has it."""
        if not panel.has_page(self._request, self._pages.admin_site, ToolCall):
            return ""
        return self._pages.panel_url("approval", invocation_id)

    def _own_run(self) -> Invocation:
        """A run that the user has started with this agent. Raises Http404."""
        run_id = uuid_of(self._request.POST.get("run_id", ""))
        own = Invocation.objects.filter(agent=self._agent, user_ref=self._user_ref)
        run = own.filter(run_id=run_id).only("run_id").first() if run_id else None
        if run is None:
            raise Http404(gettext("You have not started this run."))
        return run

    @property
    def _wants_events(self) -> bool:
        return _EVENT_STREAM in self._request.headers.get("Accept", "")

    @property
    def _number(self) -> int:
        """The column of the request."""
        return {"2": 2, "3": 3}.get(self._request.POST.get("column", ""), 1)

    def _decisions(self) -> dict[str, bool | str]:
        """True, False or a reason by the id of each tool call."""
        decisions: dict[str, bool | str] = {}
        for name, value in self._request.POST.items():
            if name.startswith("decision-"):
                key = name.removeprefix("decision-")
                reason = str(self._request.POST.get(f"reason-{key}", "")).strip()
                decisions[key] = True if value == "approve" else reason or False
        return decisions


def _after_start(run: Chunks) -> Chunks:
    """The chunks after one with the number 0, which says that the run has begun."""
    with closing(run):
        yield LLMStreamChunk(type="reset", number=0)
        yield from run


def _result(results: Results, work: Callable[[], LLMResponse]) -> dict[str, Any]:
    """What the page shows of a run: the answer and its figures, or the problem."""
    try:
        response = work()
    except (ZangoAIError, ValueError, TypeError) as exc:
        return {"problem": results.problem(exc)}
    calls = [results.tool_call(call) for call in response.tool_calls if call.status != "awaiting_approval"]
    return {"text": response.content, "calls": calls, "figures": results.response(response)}
