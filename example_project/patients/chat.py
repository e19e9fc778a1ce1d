"""A conversation with an agent that remembers: its session id is kept in the browser's session."""

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST

from zango_ai import get_agent
from zango_ai.exceptions import ZangoAIError

AGENT = "chat-agent"


@login_required
def chat(request: HttpRequest) -> HttpResponse:
    """Show what was said; a POST says something more."""
    talk = request.session.get("chat") or {"session_id": None, "said": []}
    question = request.POST.get("question", "").strip()
    context = {"said": talk["said"]}
    if question:
        try:
            response = get_agent(AGENT).run(
                input=question,
                session_id=talk["session_id"],
                user_ref=str(request.user.pk),
                triggered_by="user",
            )
        except ZangoAIError as exc:
            return render(
                request, "patients/chat.html", {**context, "error": exc, "question": question}, status=502
            )
        talk["said"].append([question, response.content])
        request.session["chat"] = {**talk, "session_id": response.session_id}
        return redirect("patients:chat")
    return render(request, "patients/chat.html", context)


@login_required
@require_POST
def start_over(request: HttpRequest) -> HttpResponse:
    """Have the agent forget the conversation."""
    talk = request.session.get("chat")
    if talk and talk["session_id"]:
        get_agent(AGENT).clear_session(talk["session_id"])
    request.session.pop("chat", None)
    return redirect("patients:chat")
