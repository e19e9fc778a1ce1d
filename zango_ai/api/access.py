"""Who may call which agent, and whose runs and sessions are whose."""

from __future__ import annotations

from uuid import UUID

from django.http import HttpRequest

from ..agent import Agent, get_agent
from ..conf import get_conf
from ..models import AgentConfig, Invocation, MemorySession
from .errors import ApiError, bad_request, not_found


def authenticated(request: HttpRequest, agent_name: str) -> bool:
    """The default of ``ZANGO_AI["API_PERMISSION"]``: any user who is logged in."""
    return user_ref(request) != ""


def user_ref(request: HttpRequest) -> str:
    """The caller's ``user_ref``: the primary key of the user, or ``""`` for an anonymous caller."""
    user = getattr(request, "user", None)
    return str(user.pk) if user is not None and user.is_authenticated else ""


def open_agent(request: HttpRequest, name: str) -> Agent:
    """The agent of that name, if the API may run it for this caller. Raises ApiError (401, 403 or 404)."""
    permission = get_conf().api_permission or authenticated
    if not permission(request, name):
        if user_ref(request):
            raise ApiError(403, "PermissionDenied", "You may not call this agent.")
        raise ApiError(401, "NotAuthenticated", "Log in to call this agent.")
    agent = get_agent(name)
    if not AgentConfig.objects.filter(name=name, is_public_api=True).exists():
        raise not_found("agent or run")
    return agent


def own_run(request: HttpRequest, run_id: str) -> tuple[Agent, UUID]:
    """The caller's own run, and its agent. Raises ApiError: 404 where it is not the caller's."""
    owner = user_ref(request)
    try:
        key = UUID(run_id)
    except ValueError:
        raise not_found("agent or run") from None
    name = (
        Invocation.objects.filter(run_id=key, user_ref=owner).values_list("agent_name", flat=True).first()
        if owner
        else None
    )
    if name is None:
        raise not_found("agent or run")
    return open_agent(request, name), key


def require_own_session(request: HttpRequest, agent: Agent, session_id: str | None) -> None:
    """Raise ApiError unless the session is the caller's, or there is none of that id yet."""
    if session_id is None:
        return
    owner = user_ref(request)
    if not owner:
        raise bad_request("Only a user who is logged in can continue a session.", "session_id")
    sessions = MemorySession.objects.filter(agent__name=agent.name, session_id=session_id, is_active=True)
    if sessions.exclude(user_ref=owner).exists():
        raise not_found("session")
