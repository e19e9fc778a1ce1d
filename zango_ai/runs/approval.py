"""Check the ``approvals`` argument of ``resume()``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .. import argument_checks
from ..ledger import stored_runs
from ..tools.approval_decisions import ApprovalDecision, Verdict


def require_mapping(approvals: object) -> None:
    """Raises TypeError."""
    argument_checks.require(approvals, Mapping, "approvals", "a dict of decisions by id")


def read(
    run: stored_runs.RunRow, approvals: Mapping[Any, bool | str], decided_by: str
) -> dict[str, ApprovalDecision]:
    """A decision for each pending call of the run, by the call's id. Raises ValueError, TypeError."""
    decisions = {str(key): decision for key, decision in approvals.items()}
    pending = {call["uid"]: call["tool_name"] for call in run.undecided}
    missing = [f"{key} ({name})" for key, name in pending.items() if key not in decisions]
    if missing:
        raise ValueError(f"approvals lacks pending tool calls of run {run.run_id}. Add {', '.join(missing)}.")
    unknown = sorted(set(decisions) - set(pending))
    if unknown:
        raise ValueError(f"approvals has ids that are not pending in run {run.run_id}: {', '.join(unknown)}.")
    return {key: _decision(key, decision, decided_by) for key, decision in decisions.items()}


def _decision(key: str, decision: bool | str, decided_by: str) -> ApprovalDecision:
    if not isinstance(decision, (bool, str)):
        raise TypeError(
            f"approvals[{key!r}] is {argument_checks.type_of(decision)}; use True, False "
            "or the reason for denying it."
        )
    verdict = Verdict.APPROVED if decision is True else Verdict.DENIED
    return ApprovalDecision(
        verdict, reason=decision if isinstance(decision, str) else "", decided_by=str(decided_by)
    )
