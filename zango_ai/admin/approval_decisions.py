"""Decide about the tool calls of a run in the admin: who may, how the run goes on, and the history."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from django.contrib.admin.models import CHANGE, LogEntry
from django.http import HttpRequest
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from ..agent import get_agent
from ..configuration import agents
from ..exceptions import NotAwaitingApproval, QueueUnavailable, ZangoAIError
from ..models import AgentConfig, Invocation, ToolCall
from ..runs import queue
from ..runs.approval import Approval
from . import approval_arguments

logger = logging.getLogger("zango_ai.admin")


def why_not(request: HttpRequest, run: Invocation, agent: AgentConfig | None) -> Any:
    """Why the user may not decide about the run's calls; "" if they may."""
    if not request.user.has_perm("zango_ai.decide_approval"):
        return _("You may not decide about tool calls. Ask someone who may.")
    if not request.user.has_perm("zango_ai.view_payload"):
        return _("You may not read the arguments of tool calls, so you cannot decide about them.")
    if agent is None:
        return _("The agent has been deleted, so the run cannot go on.")
    if agent.approval_by_another_person and run.user_ref == str(request.user.pk):
        return _("You asked the agent for this. Another person has to decide.")
    return ""


def decide(request: HttpRequest, run: Invocation, approvals: Mapping[str, Approval]) -> bool:
    """Store the decisions, and let the run go on: in a worker if the broker takes its task, else here.

    Returns whether a worker continues it. Check ``why_not()`` before. Raises the errors of ``Agent.resume()``.
    """
    with logged(request, run, approvals):
        return _continue(request, run, approvals)


@contextmanager
def logged(request: HttpRequest, run: Invocation, approvals: Mapping[str, Approval]) -> Iterator[None]:
    """Write the admin's history before the run goes on in the block, and undo that if nothing was decided."""
    entries = log_decisions(request, approvals)
    try:
        yield
    except (ZangoAIError, ValueError, TypeError) as exc:
        if isinstance(exc, NotAwaitingApproval) or is_waiting(run):
            LogEntry.objects.filter(pk__in=entries).delete()
        raise


def _continue(request: HttpRequest, run: Invocation, approvals: Mapping[str, Approval]) -> bool:
    agent = get_agent(agents.find_agent_name(run.agent_id) or run.agent_name)
    decided_by = request.user.get_username()
    if queue.is_available():
        try:
            agent.enqueue_resume(run.run_id, approvals, decided_by=decided_by)
            return True
        except QueueUnavailable as exc:
            logger.warning("Continuing run %s in the request: %s", run.run_id, exc)
    agent.resume(run.run_id, approvals, decided_by=decided_by)
    return False


def is_waiting(run: Invocation) -> bool:
    """Whether the run waits for a decision now."""
    return Invocation.objects.filter(pk=run.pk, status=Invocation.Status.AWAITING_APPROVAL).exists()


def log_decisions(request: HttpRequest, approvals: Mapping[str, Approval]) -> list[int]:
    """Write the admin's history: what was decided, without arguments and reasons. The keys of its entries."""
    keys = []
    for call in ToolCall.objects.filter(uid__in=approvals).order_by("position"):
        message = _summary(call, approvals[str(call.uid)])
        entry: Any = LogEntry.objects.log_actions(str(request.user.pk), [call], CHANGE, message, single_object=True)
        keys.append(int(entry.pk))
    return keys


def _summary(call: ToolCall, approval: Approval) -> str:
    if isinstance(approval, Mapping):
        names = ", ".join(approval_arguments.names_of_changes(call.arguments, approval))
        if names:
            return gettext("Approved the call with changed arguments: %(names)s.") % {"names": names}
        return gettext("Approved the call.")
    return gettext("Approved the call.") if approval is True else gettext("Denied the call.")
