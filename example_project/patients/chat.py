"""A chat page for an agent with memory and tools. Django's session stores the id of the conversation."""

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
    """Show the conversation; a POST sends a message."""
    conversation = _conversation(request)
    question = request.POST.get("question", "").strip()
    if not question or conversation["pending_calls"]:
        return render(request, "patients/chat.html", conversation)
    try:
        response = get_agent(AGENT).run(
            input=question,
            session_id=conversation["session_id"],
            user_ref=str(request.user.pk),
            triggered_by="user",
        )
    except ZangoAIError as exc:
        context = {**conversation, "error": exc, "question": question}
        return render(request, "patients/chat.html", context, status=502)
    conversation["exchanges"].append([question, response.content])
    return _save(request, conversation, response)


@login_required
@require_POST
def decide(request: HttpRequest) -> HttpResponse:
    """Approve or refuse the tool calls that the agent wants to make."""
    conversation = _conversation(request)
    decisions = {call["id"]: request.POST.get(call["id"]) == "yes" for call in conversation["pending_calls"]}
    without_calls = {**conversation, "pending_calls": []}
    try:
        response = get_agent(AGENT).resume(
            conversation["run_id"], decisions, decided_by=request.user.get_username()
        )
    except NotAwaitingApproval:
        request.session["chat"] = without_calls  # decided in another window
        return redirect("patients:chat")
    except ZangoAIError as exc:
        request.session["chat"] = without_calls
        return render(request, "patients/chat.html", {**without_calls, "error": exc}, status=502)
    conversation["exchanges"][-1][1] = response.content
    return _save(request, conversation, response)


@login_required
@require_POST
def start_over(request: HttpRequest) -> HttpResponse:
    """Clear the conversation."""
    session_id = _conversation(request)["session_id"]
    if session_id:
        get_agent(AGENT).clear_session(session_id)
    request.session.pop("chat", None)
    return redirect("patients:chat")


def _conversation(request: HttpRequest) -> dict[str, Any]:
    empty = {"session_id": None, "exchanges": [], "run_id": "", "pending_calls": []}
    return request.session.get("chat") or empty


def _save(request: HttpRequest, conversation: dict[str, Any], response: LLMResponse) -> HttpResponse:
    pending_calls = [
        {"id": call.id, "tool": call.tool_name, "arguments": dict(call.arguments)}
        for call in response.pending_approvals
    ]
    request.session["chat"] = {
        **conversation,
        "session_id": response.session_id,
        "run_id": str(response.run_id),
        "pending_calls": pending_calls,
    }
    return redirect("patients:chat")
