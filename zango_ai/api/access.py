"""Permission checks: who can call an agent, and who owns a run or a session."""

from __future__ import annotations

import logging
from collections.abc import Collection
from uuid import UUID

from django.http import HttpRequest

from ..agent import Agent, get_agent
from ..conf import get_conf
from ..memory.sessions import require_session_id
from ..models import AgentConfig, Invocation, MemorySession
from ..runs.background import uuid_of
from .errors import ApiError, bad_request, not_found

logger = logging.getLogger("zango_ai.api")


def authenticated(request: HttpRequest, agent_name: str) -> bool:
    """The default of ``ZANGO_AI["API_PERMISSION"]``: any logged-in user."""
    return user_ref(request) != ""


def user_ref(request: HttpRequest) -> str:
    """The primary key of the logged-in user as text; ``""`` for an anonymous caller."""
    user = getattr(request, "user", None)
    return str(user.pk) if user is not None and user.is_authenticated else ""


def open_agent(request: HttpRequest, name: str) -> Agent:
    """The agent, if the caller is allowed to run it over HTTP. Raises ApiError (401, 403 or 404)."""
    permission = get_conf().api_permission or authenticated
    if not permission(request, name):
        if user_ref(request):
            raise ApiError(403, "PermissionDenied", "You do not have permission to call this agent.")
        raise ApiError(401, "NotAuthenticated", "Log in to call this agent.")
    agent = get_agent(name)
    if not AgentConfig.objects.filter(name=name, is_public_api=True).exists():
        logger.warning("Agent %r is not available over HTTP. Tick 'Available over HTTP' in the admin.", name)
        raise not_found("Agent or run")
    return agent


def require_memory(agent: Agent) -> None:
    """Raise ApiError if the agent's runs have no session, by which a chat finds its run. Log the remedy."""
    if AgentConfig.objects.filter(name=agent.name, short_term_memory=True).exists():
        return
    logger.warning("Chats of agent %r cannot be resumed. Tick 'Short-term memory' in the admin.", agent.name)
    raise ApiError(409, "MemoryRequired", "This agent has no short-term memory, which resumable chats need.")


def own_run(request: HttpRequest, run_id: str) -> tuple[Agent, UUID]:
    """The agent and ID of the caller's own run. Raises ApiError: 404 for another user's run."""
    owner = user_ref(request)
    key = uuid_of(run_id)
    if key is None or not owner:
        raise not_found("Agent or run")
    name = Invocation.objects.filter(run_id=key, user_ref=owner).values_list("agent_name", flat=True).first()
    if name is None:
        raise not_found("Agent or run")
    return open_agent(request, name), key


def own_unfinished_run(request: HttpRequest, agent: Agent, session_id: str) -> UUID | None:
    """ID of the caller's latest run in that session, if it is queued or running. Raises ApiError."""
    require_own_session(request, agent, session_id)
    owner = user_ref(request)
    runs = Invocation.objects.filter(agent_name=agent.name, user_ref=owner, session_id=session_id)
    unfinished = runs.filter(status__in=(Invocation.Status.QUEUED, Invocation.Status.RUNNING))
    return unfinished.order_by("-pk").values_list("run_id", flat=True).first()


def own_pending_run(request: HttpRequest, agent: Agent, approval_ids: Collection[str]) -> UUID:
    """ID of the caller's own run that asked for these approvals. Raises ApiError (404)."""
    keys = [key for key in map(uuid_of, approval_ids) if key is not None]
    runs = Invocation.objects.filter(agent_name=agent.name, user_ref=user_ref(request))
    run_id = runs.filter(rounds__tool_calls__uid__in=keys).values_list("run_id", flat=True).first()
    if run_id is None or not user_ref(request):
        raise not_found("Agent or run")
    return run_id


def require_own_session(request: HttpRequest, agent: Agent, session_id: str | None) -> None:
    """Raise ApiError if the session belongs to another user. A new session ID is allowed."""
    if session_id is None:
        return
    owner = user_ref(request)
    if not owner:
        raise bad_request("Log in to use a session.", "session_id")
    try:
        require_session_id(session_id)
    except ValueError:
        raise not_found("Session") from None
    sessions = MemorySession.objects.filter(agent__name=agent.name, session_id=session_id, is_active=True)
    if sessions.exclude(user_ref=owner).exists():
        raise not_found("Session")
