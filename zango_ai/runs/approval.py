"""What people have decided of the tool calls of a run that waits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .. import arguments
from ..ledger import stored_runs
from ..tools.decisions import Decision, Verdict


def require_mapping(approvals: object) -> None:
    """Raises TypeError."""
    arguments.require(approvals, Mapping, "approvals", "a dict of decisions by id")


def read(run: stored_runs.RunRow, approvals: Mapping[Any, bool | str], decided_by: str) -> dict[str, Decision]:
    """A decision for each call that waits, by its id. Raises ValueError, TypeError."""
    given = {str(key): decision for key, decision in approvals.items()}
    due = {call["uid"]: call["tool_name"] for call in run.undecided}
    missing = [f"{key} ({name})" for key, name in due.items() if key not in given]
    if missing:
        raise ValueError(f"approvals decides not all of run {run.run_id}: add {', '.join(missing)}.")
    unknown = sorted(set(given) - set(due))
    if unknown:
        raise ValueError(f"approvals decides what does not wait in run {run.run_id}: {', '.join(unknown)}.")
    return {key: _decision(key, decision, decided_by) for key, decision in given.items()}


def _decision(key: str, given: bool | str, by: str) -> Decision:
    if not isinstance(given, (bool, str)):
        raise TypeError(f"approvals[{key!r}] is a {type(given).__name__}; use True, False or a reason against it.")
    verdict = Verdict.APPROVED if given is True else Verdict.DENIED
    return Decision(verdict, reason=given if isinstance(given, str) else "", by=str(by))
