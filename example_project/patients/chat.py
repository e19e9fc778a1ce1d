"""A chat page for an agent with memory and tools.

The conversation is in the agent's memory; Django's session stores its id. ``static/patients/chat.js`` streams the
answers over zango_ai's HTTP API. Without JavaScript, these views answer the same forms.
"""

import secrets
from typing import Any

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST

from zango_ai import get_agent, get_run
from zango_ai.exceptions import NotAwaitingApproval, ZangoAIError
from zango_ai.models import Invocation, MemoryMessage

AGENT = "chat-agent"


@login_required
def chat(request: HttpRequest) -> HttpResponse:
    """Show the conversation; a POST sends a message."""
    question = request.POST.get("question", "").strip()
    if not question or _waiting_run(request) is not None:
        return _page(request)
    try:
        get_agent(AGENT).run(
            input=question, session_id=_session_id(request), user_ref=str(request.user.pk), triggered_by="user"
        )
    except ZangoAIError as exc:
        return _page(request, status=502, error=exc, question=question)
    return redirect("patients:chat")


@login_required
@require_POST
def decide(request: HttpRequest) -> HttpResponse:
    """Approve or refuse the tool calls that the agent wants to make."""
    run = _waiting_run(request)
    if run is None:
        return redirect("patients:chat")  # decided in another window
    pending = get_run(run.run_id).response().pending_approvals
    decisions = {call.id: request.POST.get(call.id) == "yes" for call in pending}
    try:
        get_agent(AGENT).resume(run.run_id, decisions, decided_by=request.user.get_username())
    except NotAwaitingApproval:
        return redirect("patients:chat")
    except ZangoAIError as exc:
        return _page(request, status=502, error=exc)
    return redirect("patients:chat")


@login_required
@require_POST
def start_over(request: HttpRequest) -> HttpResponse:
    """Clear the conversation."""
    get_agent(AGENT).clear_session(_session_id(request))
    request.session.pop("chat", None)
    return redirect("patients:chat")


def _session_id(request: HttpRequest) -> str:
    return str(request.session.setdefault("chat", secrets.token_urlsafe(16)))


def _waiting_run(request: HttpRequest) -> Invocation | None:
    """The conversation's run that waits for an approval."""
    runs = Invocation.objects.filter(agent_name=AGENT, session_id=_session_id(request), user_ref=request.user.pk)
    return runs.filter(status="awaiting_approval").order_by("-pk").first()


def _page(request: HttpRequest, *, status: int = 200, **context: Any) -> HttpResponse:
    run = _waiting_run(request)
    messages = MemoryMessage.objects.filter(
        session__agent__name=AGENT, session__session_id=_session_id(request), role__in=("user", "assistant")
    )
    context |= {
        "agent": AGENT,
        "session_id": _session_id(request),
        "conversation": messages.exclude(content="").order_by("sequence"),
        "run": run,
        "waiting": None if run is None else get_run(run.run_id).response(),
    }
    return render(request, "patients/chat.html", context, status=status)
