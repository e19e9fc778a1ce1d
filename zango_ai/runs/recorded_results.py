"""Answer the tool calls of a replay with the results in the log. No tool is executed."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from .. import redaction
from ..ledger import stored_runs
from ..ledger.recorder import RunRecorder
from ..models import ToolCall
from ..tools.approval_decisions import ApprovalDecision
from ..types import AgentSpec, ModelAnswer, ToolSchema
from .tool_call_outcomes import ToolCallOutcome, not_recorded
from .tool_call_plan import Action, ToolCallPlan
from .tool_use import Toolbox


class ReplayToolbox(Toolbox):
    """The tools that a recorded run sent, and the results of its calls."""

    def __init__(
        self,
        agent: AgentSpec,
        recorder: RunRecorder,
        *,
        schemas: tuple[ToolSchema, ...],
        calls: Iterable[Mapping[str, Any]],
    ) -> None:
        super().__init__(replace(agent, tools=()), recorder, trigger="")
        self.schemas = schemas
        self._results = RecordedResults(calls)

    def restore(
        self, run: stored_runs.RunRow, decisions: Mapping[str, ApprovalDecision], *, is_pending: bool
    ) -> None:
        """Restore the calls of a replay that a worker continues: their results are used up."""
        super().restore(run, decisions, is_pending=is_pending)
        for call in run.calls:
            arguments = json.loads(redaction.document(call["arguments"]))  # as the log has the recorded calls
            self._results.take(redaction.tool_name(call["tool_name"]), arguments)

    def _plan(self, answer: ModelAnswer, *, may_call: bool) -> list[ToolCallPlan]:
        """Every call is refused, as that of an unknown tool, with the recorded result as its outcome."""
        plans = super()._plan(answer, may_call=may_call)
        if not may_call:
            return plans
        return [self._with_result(plan) if plan.action is Action.REFUSE else plan for plan in plans]

    def _with_result(self, plan: ToolCallPlan) -> ToolCallPlan:
        stored = plan.columns  # as the log has the recorded calls
        return replace(plan, outcome=self._results.take(stored["tool_name"], json.loads(stored["arguments"])))


class RecordedResults:
    """The results of a run's tool calls, by tool and arguments.

    A call that was made several times gets its results in their order, and then the last one again.
    """

    def __init__(self, calls: Iterable[Mapping[str, Any]]) -> None:
        self._by_call: dict[str, list[ToolCallOutcome]] = defaultdict(list)
        self._names: set[str] = set()
        for call in calls:
            if call["status"] not in ToolCall.UNFINISHED:
                outcome = ToolCallOutcome(call["status"], call["result"])
                self._by_call[key_of(call["tool_name"], call["arguments"])].append(outcome)
                self._names.add(call["tool_name"])

    def take(self, tool_name: str, arguments: Any) -> ToolCallOutcome:
        """What to tell the model about this call."""
        outcomes: Sequence[ToolCallOutcome] = self._by_call.get(key_of(tool_name, arguments), ())
        if not outcomes:
            return not_recorded(tool_name, is_known=tool_name in self._names)
        return self._by_call[key_of(tool_name, arguments)].pop(0) if len(outcomes) > 1 else outcomes[0]


def key_of(tool_name: str, arguments: Any) -> str:
    """The same for two calls of one tool with the same arguments, in any order of their names."""
    return json.dumps([tool_name, arguments], sort_keys=True)
