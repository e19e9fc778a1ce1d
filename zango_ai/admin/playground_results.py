"""What the playground shows of a run: its figures, its tool calls, its approvals, or why it has failed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.template.loader import render_to_string
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from ..api import stream_events
from ..exceptions import (
    AgentDisabled,
    BudgetExceeded,
    ContextWindowExceeded,
    DecisionNotAllowed,
    InputRequired,
    LLMAPIError,
    LLMFileError,
    LLMTimeoutError,
    ModelNotAvailable,
    NotAwaitingApproval,
    OutputError,
    PriceUnknown,
    PromptNotFound,
    PromptRenderError,
    ProviderConfigInvalid,
    ProviderDisabled,
    RateLimitExceeded,
    RunCancelled,
    SessionNotOwned,
    ZangoAIError,
)
from ..types import LLMResponse, LLMStreamChunk, LLMToolCall

_TITLES: tuple[tuple[type[ZangoAIError], Any], ...] = (
    (BudgetExceeded, _("The budget does not allow this run.")),
    (PriceUnknown, _("The price of this model is not known.")),
    (RateLimitExceeded, _("Too many requests.")),
    (ProviderDisabled, _("The provider is switched off.")),
    (AgentDisabled, _("The agent is switched off.")),
    (ModelNotAvailable, _("The provider does not allow this model.")),
    (ProviderConfigInvalid, _("The provider is not set up completely.")),
    (PromptRenderError, _("A placeholder has no value.")),
    (PromptNotFound, _("A prompt has no text to send.")),
    (InputRequired, _("The agent needs a message.")),
    (SessionNotOwned, _("This session belongs to another user.")),
    (LLMFileError, _("A file cannot be sent.")),
    (OutputError, _("The answer is not what the output format asks for.")),
    (ContextWindowExceeded, _("The request is too long for this model.")),
    (LLMTimeoutError, _("The model did not answer in time.")),
    (LLMAPIError, _("The provider answered with an error.")),
    (RunCancelled, _("The run was stopped.")),
    (DecisionNotAllowed, _("You asked the agent for this, so you cannot decide about it.")),
    (NotAwaitingApproval, _("This run does not wait for a decision any more.")),
)
"""The first that matches says what happened. The exception's own message says what to do."""
_AT_PROVIDER = (
    BudgetExceeded,
    PriceUnknown,
    RateLimitExceeded,
    ProviderDisabled,
    ModelNotAvailable,
    ProviderConfigInvalid,
    LLMAPIError,
)
"""Errors that are put right on the provider's page."""
_AT_AGENT = (AgentDisabled, OutputError, LLMTimeoutError, ContextWindowExceeded, BudgetExceeded)


@dataclass(frozen=True, slots=True)
class Links:
    """Addresses that results link to. They are read before the run, because it goes on without the request."""

    agent: str
    providers: Mapping[str, str]
    """By name. Empty if the user may not view providers."""
    decide: str
    """Empty if the user may not decide about tool calls."""
    change: Callable[[int], str]
    """Returns the page that can change the arguments of a run's calls, or ""."""
    needs_other_person: bool
    """Whether the person who asked may not decide."""
    invocation: Callable[[int], str]
    """Returns "" if the user may not view invocations."""
    csrf_token: str


class Results:
    """Renders the results of one column."""

    def __init__(self, links: Links, number: int) -> None:
        self.links, self.number = links, number

    def response(self, response: LLMResponse) -> str:
        """The figures of a run that has ended or waits for a decision, and what to decide."""
        context = {
            "response": response,
            "document": response.parsed_content,
            "stop": _STOPS.get(response.stop_reason, ""),
            "invocation_url": self.links.invocation(response.invocation_id),
            "links": self.links,
            "change_url": self.links.change(response.invocation_id) if response.pending_approvals else "",
            "number": self.number,
        }
        return render_to_string("admin/zango_ai/agentconfig/playground_result.html", context)

    def problem(self, exc: Exception) -> str:
        """Why a run has failed, and where to put it right."""
        title = next((title for kind, title in _TITLES if isinstance(exc, kind)), _("The run has failed."))
        invocation_id = getattr(exc, "invocation_id", None)
        url, action = self._remedy(exc)
        context = {
            "title": title,
            "text": str(exc) if isinstance(exc, (ZangoAIError, ValueError, TypeError)) else type(exc).__name__,
            "url": url,
            "action": action,
            "wait": getattr(exc, "retry_after_seconds", None),
            "invocation_url": "" if invocation_id is None else self.links.invocation(invocation_id),
        }
        return render_to_string("admin/zango_ai/agentconfig/playground_problem.html", context)

    def stopped(self, invocation_id: int) -> str:
        """The link to a run that the user has stopped."""
        context = {"invocation_id": invocation_id, "invocation_url": self.links.invocation(invocation_id)}
        return render_to_string("admin/zango_ai/agentconfig/playground_stopped.html", context)

    def tool_call(self, call: LLMToolCall) -> str:
        return render_to_string("admin/zango_ai/agentconfig/playground_tool_call.html", {"call": call})

    def _remedy(self, exc: Exception) -> tuple[str, str]:
        """The address where the error is put right, and the link's text."""
        provider_url = self.links.providers.get(getattr(exc, "provider_name", "") or getattr(exc, "name", ""), "")
        is_agents_budget = getattr(exc, "agent_name", None) is not None
        if provider_url and isinstance(exc, _AT_PROVIDER) and not is_agents_budget:
            return provider_url, gettext("Open the provider")
        if isinstance(exc, _AT_AGENT):
            return self.links.agent, gettext("Open the agent")
        return "", ""


_STOPS = {
    "max_tokens": _("The answer was cut off at the agent's max tokens."),
    "max_tool_rounds": _("The agent used all its rounds of tool calls and answered without more."),
    "refusal": _("The model refused to answer."),
}


class PlaygroundEvents:
    """The chunks of a run as events for ``playground.js``. Results are HTML, so that one template shows them."""

    headers: Mapping[str, str] = {}

    def __init__(self, results: Results) -> None:
        self._results, self._number = results, 0
        self.run_id: UUID | None = None

    def begin(self) -> bytes:
        return b""

    def chunk(self, chunk: LLMStreamChunk) -> bytes:
        if chunk.number == 0:
            return self._event("started", run_id=str(self.run_id))
        if chunk.type == "text":
            return self._event("text", text=chunk.text)
        if chunk.tool_call is not None:
            html = self._results.tool_call(chunk.tool_call)
            return self._event(chunk.type, html=html, call=chunk.tool_call.id)
        if chunk.response is None:
            return self._event(chunk.type)
        response = chunk.response
        return self._event(
            "final", html=self._results.response(response), text=response.content, session_id=response.session_id
        )

    def error(self, exc: Exception) -> bytes:
        return self._event("error", html=self._results.problem(exc))

    def end(self) -> bytes:
        return b""

    def _event(self, kind: str, **data: Any) -> bytes:
        self._number += 1
        return stream_events.event({"type": kind, **data}, self._number)
