"""Tell people that tool calls wait for their approval: by signal and by e-mail."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from django.core.mail import send_mail
from django.urls import NoReverseMatch, reverse
from django.utils.formats import date_format
from django.utils.timezone import localtime
from django.utils.translation import gettext, ngettext

from .. import tenancy
from ..conf import get_conf, site_address
from ..ledger.recorder import RunRecorder
from ..types import PendingApproval

logger = logging.getLogger("zango_ai.agent")


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovalRequest:
    """A run that waits for approvals, as the callable of ``ZANGO_AI["APPROVAL_EMAILS"]`` gets it."""

    schema: str
    run_id: UUID
    invocation_id: int
    agent_name: str
    user_ref: str
    approvals: tuple[PendingApproval, ...]


def announce(run: RunRecorder, pending: Sequence[PendingApproval]) -> None:
    """Send ``approval_requested`` and the e-mail. Errors are logged: the run waits all the same."""
    run.send_approval_requested(pending)
    if not get_conf().approval_emails:
        return
    assert run.invocation_id is not None
    request = ApprovalRequest(
        schema=run.schema,
        run_id=run.run_id,
        invocation_id=run.invocation_id,
        agent_name=run.agent_name,
        user_ref=run.user_ref,
        approvals=tuple(pending),
    )
    try:
        with tenancy.active(run.schema):  # a tool may have switched the tenant
            send_email(request)
    except Exception:
        logger.exception("Could not send an e-mail about the approvals of run %s in %s", run.run_id, run.schema)


def send_email(request: ApprovalRequest) -> None:
    """One message with the tools' names and a link; no arguments and no descriptions, as mail is not private."""
    emails = get_conf().approval_emails
    addresses = [str(each) for each in (emails(request) if callable(emails) else emails) or ()]
    if not addresses:
        return
    count = len(request.approvals)
    subject = ngettext(
        "%(agent)s waits for your approval", "%(agent)s waits for your approval of %(count)d tool calls", count
    ) % {"agent": request.agent_name, "count": count}
    lines = [gettext("The agent %(agent)s wants to call:") % {"agent": request.agent_name}]
    lines += [f"- {pending.tool_name}" for pending in request.approvals]
    expires_at = min(pending.expires_at for pending in request.approvals)
    shown = localtime(expires_at) if expires_at.tzinfo else expires_at
    lines.append(gettext("It waits until: %(time)s") % {"time": date_format(shown, "DATETIME_FORMAT")})
    send_mail(subject, "\n".join([*lines, *_link(request)]), None, addresses)


def _link(request: ApprovalRequest) -> list[str]:
    """The address of the page that decides about the run, if it is known."""
    address = site_address(request.schema)
    if not address:
        return []
    try:
        path = reverse("admin:zango_ai_approval", args=[request.invocation_id])
    except NoReverseMatch:  # the project has no admin site of that name
        return []
    return ["", f"{address}{path}"]
