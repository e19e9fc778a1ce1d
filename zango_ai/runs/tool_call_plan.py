"""Decide what to do about each tool call that a model requests, before any is executed."""

from __future__ import annotations

import enum
import json
import traceback
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from .. import redaction, sanitize
from ..models import ToolCall
from ..output import json_reader
from ..tools import DeclaredTool
from ..tools.approval_decisions import ApprovalDecision, Verdict
from ..tools.parameters import InvalidArguments
from ..types import ToolRequest
from . import tool_call_outcomes
from .tool_call_outcomes import ToolCallOutcome

_MAX_TRACEBACK_CHARS = 40_000
_MAX_NAME_CHARS = 200


class Action(enum.Enum):
    EXECUTE = enum.auto()
    AWAIT_APPROVAL = enum.auto()
    REFUSE = enum.auto()
    """Log the outcome, and tell the model."""
    REFUSE_EXCESS = enum.auto()
    """The same for calls beyond the limit per answer. There may be thousands: one statement logs them all."""
    REPEAT = enum.auto()
    """Tell the model the outcome again: the log has it from before the run waited for an approval."""


@dataclass(frozen=True, slots=True)
class ToolCallPlan:
    """One requested call, and what to do about it."""

    action: Action
    request: ToolRequest
    columns: Mapping[str, Any]
    """The columns of its row that are known before it is executed."""
    json_arguments: Any
    """The arguments as a JSON value, or as text if they are not JSON."""
    tool: DeclaredTool | None = None
    arguments: Mapping[str, Any] | None = None
    """To execute: the arguments for the function."""
    outcome: ToolCallOutcome | None = None
    """To refuse or repeat: what to tell the model."""
    is_changed: bool = False
    """Whether a person has changed the model's arguments. ``json_arguments`` are theirs then."""


@dataclass(frozen=True, slots=True)
class Planner:
    """Plans the calls of one answer."""

    tools: Mapping[str, DeclaredTool]
    max_calls: int
    """How many calls of one answer are executed."""
    may_call: bool
    """False: the model was asked to answer without tools."""
    skips_approval: bool
    logged_rows: Mapping[int, Mapping[str, Any]]
    """The answer's calls by position, if the run waited for an approval."""
    decisions: Mapping[str, ApprovalDecision]
    """What was decided about them, by the ``uid`` of the row."""

    def plan(self, request: ToolRequest, position: int) -> ToolCallPlan:
        """``position`` counts the calls of the answer from 1."""
        row = self.logged_rows.get(position)
        tool = self.tools.get(request.name)
        plan = _new_plan(request, position, row, tool)
        if row is not None and row["status"] not in ToolCall.UNFINISHED:
            return replace(plan, action=Action.REPEAT, outcome=ToolCallOutcome(row["status"], row["result"]))
        if row is None and position > self.max_calls:
            too_many = tool_call_outcomes.too_many_calls(self.max_calls)
            outcome = too_many if self.may_call else tool_call_outcomes.NO_TOOLS_LEFT
            return replace(plan, action=Action.REFUSE_EXCESS, outcome=outcome)
        if not self.may_call:
            return _refuse(plan, tool_call_outcomes.NO_TOOLS_LEFT)
        if row is not None:
            plan = _with_decision(plan, row, self.decisions[row["uid"]])
        if plan.action is Action.REFUSE:
            return plan
        if tool is None:
            return _refuse(plan, tool_call_outcomes.unknown_tool(request.name))
        plan = _with_arguments(plan, tool)
        if plan.action is Action.REFUSE or row is not None:
            return plan
        if tool.requires_approval and not self.skips_approval:
            return replace(plan, action=Action.AWAIT_APPROVAL)
        return plan


def _new_plan(
    request: ToolRequest, position: int, row: Mapping[str, Any] | None, tool: DeclaredTool | None
) -> ToolCallPlan:
    json_arguments = _as_json(request.arguments)
    columns = {
        "uid": uuid.UUID(row["uid"]) if row else uuid.uuid4(),
        "position": position,
        "call_id": sanitize.text(request.id),
        "tool_name": redaction.tool_name(request.name, _MAX_NAME_CHARS),
        "arguments": redaction.document(json_arguments),
    }
    return ToolCallPlan(Action.EXECUTE, request, columns, json_arguments, tool)


def _refuse(plan: ToolCallPlan, outcome: ToolCallOutcome) -> ToolCallPlan:
    return replace(plan, action=Action.REFUSE, outcome=outcome)


def _with_arguments(plan: ToolCallPlan, tool: DeclaredTool) -> ToolCallPlan:
    """The plan with checked arguments, or refused because of them."""
    text = json.dumps(plan.json_arguments, ensure_ascii=False) if plan.is_changed else plan.request.arguments
    try:
        return replace(plan, arguments=tool.parameters.read(text))
    except InvalidArguments as exc:
        return _refuse(plan, tool_call_outcomes.invalid_arguments(exc))
    except Exception as exc:  # an annotation may have validators of the application
        traceback_text = sanitize.text(traceback.format_exc(), _MAX_TRACEBACK_CHARS)
        return _refuse(plan, tool_call_outcomes.of_validator_error(tool, exc, traceback_text))


def _with_decision(plan: ToolCallPlan, row: Mapping[str, Any], decision: ApprovalDecision) -> ToolCallPlan:
    """The plan after a person has decided about the call."""
    decision = decision.within(datetime.fromisoformat(row["expires_at"]))
    plan = replace(plan, columns={**plan.columns, **decision.columns})
    if decision.verdict is not Verdict.APPROVED:
        return _refuse(plan, tool_call_outcomes.not_approved(decision))
    if decision.arguments is None:
        return plan
    return replace(plan, json_arguments=decision.arguments, is_changed=True)


def _as_json(arguments: str) -> Any:
    try:
        return json_reader.load(arguments.strip() or "{}")
    except ValueError:
        return arguments
