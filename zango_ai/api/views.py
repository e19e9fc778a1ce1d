"""The views of the HTTP API. Each calls the same method of ``Agent`` that an application would call."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponseBase, JsonResponse
from django.urls import reverse

from ..runs.background import get_run
from . import access, bodies, documents, streams
from .bodies import RunBody
from .chat_events import ChatEvents
from .chat_messages import read_chat
from .errors import bad_request, endpoint, not_found
from .stream_events import ChunkEvents


@endpoint("POST")
def run(request: HttpRequest, *, name: str) -> HttpResponseBase:
    """Run the agent and return its response."""
    agent = access.open_agent(request, name)
    body = bodies.read_run(request)
    access.require_own_session(request, agent, body.session_id)
    response = agent.run(**body.arguments(), user_ref=access.user_ref(request), triggered_by="user")
    return JsonResponse(documents.response_document(response))


@endpoint("POST", is_streamed=True)
def stream(request: HttpRequest, *, name: str) -> HttpResponseBase:
    """Run the agent and send its answer as server-sent events while the model writes it.

    If the client disconnects, the run ends as ``cancelled``.
    """
    agent = access.open_agent(request, name)
    body = bodies.read_run(request)
    access.require_own_session(request, agent, body.session_id)
    return streams.respond(request, streams.source_of(agent, body, access.user_ref(request)), ChunkEvents())


@endpoint("POST")
def enqueue(request: HttpRequest, *, name: str) -> HttpResponseBase:
    """Queue a run. The ``Location`` header has the URL of the run."""
    agent = access.open_agent(request, name)
    body = bodies.read_run(request)
    access.require_own_session(request, agent, body.session_id)
    queued = agent.enqueue(**body.arguments(), user_ref=access.user_ref(request), triggered_by="user")
    match = request.resolver_match
    assert match is not None
    location = reverse(
        f"{match.namespace}:run_detail", kwargs={"run_id": queued.run_id}, current_app=match.app_name
    )
    document = {"run_id": str(queued.run_id), "status": queued.status}
    return JsonResponse(document, status=202, headers={"Location": location})


@endpoint("GET")
def run_detail(request: HttpRequest, *, run_id: str) -> HttpResponseBase:
    """The status of the caller's run, with its response once it has finished."""
    _agent, key = access.own_run(request, run_id)
    return JsonResponse(documents.run_document(get_run(key)))


@endpoint("POST")
def approvals(request: HttpRequest, *, run_id: str) -> HttpResponseBase:
    """Approve or deny the pending tool calls of the caller's run.

    The response is that of ``run``, or that of ``stream`` if the request accepts ``text/event-stream``.
    """
    agent, key = access.own_run(request, run_id)
    decisions = bodies.read_approvals(request)
    owner = access.user_ref(request)
    if "text/event-stream" in request.headers.get("Accept", ""):
        source = streams.resumed_source(agent, key, decisions, owner, field="approvals")
        return streams.respond(request, source, ChunkEvents())
    try:
        response = agent.resume(key, decisions, decided_by=owner)
    except ValueError as exc:
        raise bad_request(str(exc), "approvals") from None
    return JsonResponse(documents.response_document(response))


@endpoint("POST", is_streamed=True)
def chat(request: HttpRequest, *, name: str) -> HttpResponseBase:
    """Answer the last message of an AI SDK chat, or continue its run once the user has decided its tool calls."""
    agent = access.open_agent(request, name)
    body = read_chat(request)
    access.require_own_session(request, agent, body.session_id)
    owner = access.user_ref(request)
    if body.approvals is None:
        source = streams.source_of(agent, RunBody(input=body.text, session_id=body.session_id), owner)
    else:
        run_id = access.own_pending_run(request, agent, body.approvals)
        source = streams.resumed_source(agent, run_id, body.approvals, owner, field="messages")
    return streams.respond(request, source, ChatEvents(known_calls=body.tool_calls))


@endpoint("POST")
def clear_session(request: HttpRequest, *, name: str, session_id: str) -> HttpResponseBase:
    """End the caller's session and delete its messages."""
    agent = access.open_agent(request, name)
    access.require_own_session(request, agent, session_id)
    if not agent.clear_session(session_id):
        raise not_found("Session")
    return JsonResponse({"cleared": True})
