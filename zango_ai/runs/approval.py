"""Check the ``approvals`` argument of ``resume()``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from .. import argument_checks
from ..ledger import clock, stored_runs
from ..tools import registry
from ..tools.approval_decisions import ApprovalDecision, Verdict
from ..tools.parameters import InvalidArguments

Approval = bool | str | Mapping[str, Any]
"""True, False, the reason for denying, or the arguments to approve the call with."""


def require_mapping(approvals: object) -> None:
    """Raises TypeError."""
    argument_checks.require(approvals, Mapping, "approvals", "a dict of decisions by id")


def read(
    run: stored_runs.RunRow, approvals: Mapping[Any, Approval], decided_by: str
) -> dict[str, ApprovalDecision]:
    """A decision for each pending call of the run, by the call's id. Raises ValueError, TypeError."""
    decisions = {str(key): decision for key, decision in approvals.items()}
    pending = {call["uid"]: call for call in run.undecided}
    missing = [f"{key} ({call['tool_name']})" for key, call in pending.items() if key not in decisions]
    if missing:
        raise ValueError(f"approvals lacks pending tool calls of run {run.run_id}. Add {', '.join(missing)}.")
    unknown = sorted(set(decisions) - set(pending))
    if unknown:
        raise ValueError(f"approvals has ids that are not pending in run {run.run_id}: {', '.join(unknown)}.")
    now = clock.now()
    return {key: _decision(pending[key], decision, decided_by, now) for key, decision in decisions.items()}


def _decision(call: Mapping[str, Any], decision: Approval, decided_by: str, now: datetime) -> ApprovalDecision:
    if not isinstance(decision, (bool, str, Mapping)):
        raise TypeError(
            f"approvals[{call['uid']!r}] is {argument_checks.type_of(decision)}; use True, False, the reason for "
            "denying it, or a dict of the arguments to approve it with."
        )
    is_changed = isinstance(decision, Mapping) and decision != call["arguments"]
    return ApprovalDecision(
        verdict=Verdict.DENIED if decision is False or isinstance(decision, str) else Verdict.APPROVED,
        reason=decision if isinstance(decision, str) else "",
        decided_by=str(decided_by),
        decided_at=now,
        arguments=_checked(call, decision) if is_changed and isinstance(decision, Mapping) else None,
    ).within(datetime.fromisoformat(call["expires_at"]))


def _checked(call: Mapping[str, Any], arguments: Mapping[str, Any]) -> Mapping[str, Any]:
    """Raises ValueError unless the tool can be called with the arguments."""
    where = f"approvals[{call['uid']!r}]"
    if not registry.is_registered(call["tool_name"]):
        raise ValueError(f"{where}: no code declares the tool {call['tool_name']!r} any more. Deny the call.")
    try:
        text = json.dumps(dict(arguments), ensure_ascii=False)
    except (TypeError, ValueError) as exc:
        raise TypeError(f"{where} must be JSON values: {exc}.") from None
    try:
        registry.get(call["tool_name"]).parameters.read(text)
    except InvalidArguments as exc:
        raise ValueError(f"{where} does not match the tool {call['tool_name']!r}: {exc}") from None
    checked: dict[str, Any] = json.loads(text)
    return checked
