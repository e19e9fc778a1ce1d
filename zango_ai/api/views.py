"""The views of the HTTP API. Each calls the same method of ``Agent`` that an application would call."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse, HttpResponseBase, JsonResponse
from django.urls import reverse

from .. import tenancy
from ..conf import get_conf
from ..runs.background import EnqueuedRun, get_run, row_of
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
    owner = access.user_ref(request)
    queued = agent.enqueue(**body.arguments(), user_ref=owner, triggered_by="user", stream=True)
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
    return JsonResponse(documents.run_document(row_of(key, tenancy.current_schema())))


@endpoint("GET", is_streamed=True)
def run_stream(request: HttpRequest, *, run_id: str) -> HttpResponseBase:
    """The chunks of the caller's queued run, live or afterwards, from the one after ``Last-Event-ID`` on."""
    _agent, key = access.own_run(request, run_id)
    after = bodies.read_after(request)
    queued = get_run(key)
    if after and streams.has_shown_error(queued, after):
        return HttpResponse(status=204)
    return streams.respond(request, streams.stored_source(queued, after), ChunkEvents(after))


@endpoint("POST")
def cancel(request: HttpRequest, *, run_id: str) -> HttpResponseBase:
    """Stop the caller's run. ``cancelled`` is false if it had ended."""
    _agent, key = access.own_run(request, run_id)
    return JsonResponse({"cancelled": get_run(key).cancel()})


@endpoint("POST", is_streamed=True)
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
    if body.approvals is None and get_conf().resumable_chats:
        access.require_memory(agent)
        queued = agent.enqueue(
            body.text, session_id=body.session_id, user_ref=owner, triggered_by="user", stream=True
        )
        return _chat_of(request, queued)
    if body.approvals is None:
        source = streams.source_of(agent, RunBody(input=body.text, session_id=body.session_id), owner)
    else:
        run_id = access.own_pending_run(request, agent, body.approvals)
        source = streams.resumed_source(agent, run_id, body.approvals, owner, field="messages")
    return streams.respond(request, source, ChatEvents(known_calls=body.tool_calls))


@endpoint("GET", is_streamed=True)
def chat_stream(request: HttpRequest, *, name: str, chat_id: str) -> HttpResponseBase:
    """The answer that a run of the caller's chat is giving, from its beginning. 204 if there is none."""
    agent = access.open_agent(request, name)
    run_id = access.own_unfinished_run(request, agent, chat_id)
    return HttpResponse(status=204) if run_id is None else _chat_of(request, get_run(run_id))


def _chat_of(request: HttpRequest, queued: EnqueuedRun) -> HttpResponseBase:
    return streams.respond(request, streams.stored_source(queued), ChatEvents(str(queued.run_id)))


@endpoint("POST")
def clear_session(request: HttpRequest, *, name: str, session_id: str) -> HttpResponseBase:
    """End the caller's session and delete its messages."""
    agent = access.open_agent(request, name)
    access.require_own_session(request, agent, session_id)
    if not agent.clear_session(session_id):
        raise not_found("Session")
    return JsonResponse({"cleared": True})
