"""A conversation with an agent that remembers and uses tools: its session id is kept in the browser's session."""

from typing import Any

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST

from zango_ai import LLMResponse, get_agent
from zango_ai.exceptions import NotAwaitingApproval, ZangoAIError

AGENT = "chat-agent"


@login_required
def chat(request: HttpRequest) -> HttpResponse:
    """Show what was said; a POST says something more."""
    talk = _talk(request)
    question = request.POST.get("question", "").strip()
    if not question or talk["waiting"]:
        return render(request, "patients/chat.html", talk)
    try:
        response = get_agent(AGENT).run(
            input=question,
            session_id=talk["session_id"],
            user_ref=str(request.user.pk),
            triggered_by="user",
        )
    except ZangoAIError as exc:
        return render(request, "patients/chat.html", {**talk, "error": exc, "question": question}, status=502)
    talk["said"].append([question, response.content])
    return _answered(request, talk, response)


@login_required
@require_POST
def decide(request: HttpRequest) -> HttpResponse:
    """Approve what the agent wants to do, or not."""
    talk = _talk(request)
    decisions = {each["id"]: request.POST.get(each["id"]) == "yes" for each in talk["waiting"]}
    try:
        response = get_agent(AGENT).resume(talk["run_id"], decisions, decided_by=request.user.get_username())
    except NotAwaitingApproval:
        request.session["chat"] = {**talk, "waiting": []}  # decided in another window
        return redirect("patients:chat")
    except ZangoAIError as exc:
        request.session["chat"] = {**talk, "waiting": []}
        return render(request, "patients/chat.html", {**talk, "waiting": [], "error": exc}, status=502)
    talk["said"][-1][1] = response.content
    return _answered(request, talk, response)


@login_required
@require_POST
def start_over(request: HttpRequest) -> HttpResponse:
    """Have the agent forget the conversation."""
    talk = _talk(request)
    if talk["session_id"]:
        get_agent(AGENT).clear_session(talk["session_id"])
    request.session.pop("chat", None)
    return redirect("patients:chat")


def _talk(request: HttpRequest) -> dict[str, Any]:
    return request.session.get("chat") or {"session_id": None, "said": [], "run_id": "", "waiting": []}


def _answered(request: HttpRequest, talk: dict[str, Any], response: LLMResponse) -> HttpResponse:
    waiting = [
        {"id": each.id, "tool": each.tool_name, "arguments": dict(each.arguments)}
        for each in response.pending_approvals
    ]
    talk |= {"session_id": response.session_id, "run_id": str(response.run_id), "waiting": waiting}
    request.session["chat"] = talk
    return redirect("patients:chat")
