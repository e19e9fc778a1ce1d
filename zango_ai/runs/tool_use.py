"""The tools of an agent in one run: plan, execute and log the calls of each answer.

The model is told how each call ended. A failed call never ends the run.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from itertools import takewhile
from typing import Any

from .. import redaction
from ..conf import get_conf
from ..ledger import clock, stored_runs
from ..ledger.recorder import RunRecorder
from ..memory import window
from ..models import ToolCall
from ..telemetry import Step
from ..tools import descriptions, registry, results
from ..tools.approval_decisions import ApprovalDecision
from ..types import (
    AgentSpec,
    LLMMessage,
    LLMStreamChunk,
    LLMToolCall,
    ModelAnswer,
    PendingApproval,
    ToolRequest,
    ToolSchema,
)
from . import tool_call_outcomes
from .drivers import Work
from .effects import Execute
from .tool_call_log import ToolCallLog
from .tool_call_outcomes import ToolCallOutcome
from .tool_call_plan import Action, Planner, ToolCallPlan

logger = logging.getLogger("zango_ai.tools")


class Toolbox:
    """The tools that an agent may call in one run, and the calls so far."""

    def __init__(self, agent: AgentSpec, recorder: RunRecorder, *, trigger: str) -> None:
        """Raises ToolDeclarationInvalid for a tool that has no JSON schema."""
        self.calls: list[LLMToolCall] = []
        self.messages: list[LLMMessage] = []
        """The model's answers with tool calls, each followed by its results."""
        self.pending: list[PendingApproval] = []
        self._log, self._trace = ToolCallLog(recorder), recorder.trace
        self._tools = {name: registry.get(name) for name in agent.tools if registry.is_registered(name)}
        self._skips_approval = agent.auto_approve_system_runs and trigger == "system"
        self._logged_rows: dict[int, Mapping[str, Any]] = {}
        self._decisions: Mapping[str, ApprovalDecision] = {}
        for name in agent.tools:
            if name not in self._tools:
                logger.warning(
                    "Agent %r of %r has the tool %r, which no code declares", agent.name, agent.schema, name
                )
        self.schemas = tuple(
            ToolSchema(name, tool.description, tool.parameters_schema) for name, tool in self._tools.items()
        )

    @property
    def excluded_from_memory(self) -> set[str]:
        """Names of the tools whose calls are not remembered."""
        return {name for name, tool in self._tools.items() if tool.memory_policy == "exclude"}

    def restore(
        self, run: stored_runs.RunRow, decisions: Mapping[str, ApprovalDecision], *, is_pending: bool
    ) -> None:
        """Restore the calls of a run that stopped, with the decisions about its pending calls by their ``uid``.

        ``is_pending``: the run has waited for these decisions, so its last answer's calls are still to be executed.
        """
        self._decisions = decisions
        for row in run.calls:
            if is_pending and row["number"] == run.rounds_count:
                self._logged_rows[row["position"]] = row
            else:
                self._add_call(row["call_id"], row["tool_name"], row["arguments"], row["status"], row["result"])

    def use(
        self,
        answer: ModelAnswer,
        *,
        may_call: bool,
        show: Callable[[LLMToolCall], LLMStreamChunk],
        pause: Callable[[ModelAnswer], None],
    ) -> Work[Sequence[LLMMessage] | None]:
        """Execute the answer's tool calls, in order, and return the messages that the model is asked with next.

        Each call is shown twice, in a chunk: before it is executed, as ``running``, and afterwards with its result.

        At the first call that a person must approve, call ``pause`` and return None. With ``may_call=False`` all
        calls are refused.
        """
        plans = self._plan(answer, may_call=may_call)
        ready = list(takewhile(lambda plan: plan.action is not Action.AWAIT_APPROVAL, plans))
        tool_messages = []
        for plan in ready:
            request = plan.request
            yield show(_call(request.id, request.name, plan.json_arguments, "running", None))
            tool_messages.append((yield from self._carry_out(plan)))
            yield show(self.calls[-1])
        self._log_excess([plan for plan in ready if plan.action is Action.REFUSE_EXCESS])
        waiting = [plan for plan in plans[len(ready) :] if plan.action is Action.AWAIT_APPROVAL]
        if waiting:
            yield from self._request_approval(waiting)
            pause(answer)
            return None
        calls = tuple(map(_call_to_send, answer.tool_calls))
        messages = [LLMMessage("assistant", answer.content, calls), *tool_messages]
        if may_call:  # otherwise this answer ends the run, and the results are not sent
            self.messages += messages
        return messages

    def _plan(self, answer: ModelAnswer, *, may_call: bool) -> list[ToolCallPlan]:
        planner = Planner(
            tools=self._tools,
            max_calls=get_conf().max_tool_calls_per_round,
            may_call=may_call,
            skips_approval=self._skips_approval,
            logged_rows=self._logged_rows,
            decisions=self._decisions,
        )
        self._logged_rows = {}
        return [planner.plan(request, position) for position, request in enumerate(answer.tool_calls, start=1)]

    def _carry_out(self, plan: ToolCallPlan) -> Work[LLMMessage]:
        """The message that tells the model how the call ended."""
        outcome = plan.outcome or (yield from self._execute(plan))
        if plan.action is Action.REFUSE:
            self._log.end(plan, outcome)
        request = plan.request
        self._add_call(request.id, request.name, plan.json_arguments, outcome.status, outcome.result)
        return LLMMessage("tool", results.to_text(outcome.result), tool_call_id=request.id)

    def _execute(self, plan: ToolCallPlan) -> Work[ToolCallOutcome]:
        """Execute the tool, if its rate limit allows. Raises LogUnavailable before the tool is executed."""
        tool = plan.tool
        assert tool is not None
        begun = self._log.begin(plan, tool.rate_limit)
        if not begun.is_allowed and not begun.wait_s:
            return tool_call_outcomes.ALREADY_EXECUTED
        outcome = tool_call_outcomes.INTERRUPTED
        try:
            if not begun.is_allowed:
                outcome = tool_call_outcomes.rate_limited(tool, begun.wait_s)
                return outcome
            max_chars = get_conf().max_tool_result_chars
            heartbeat = self._log.heartbeat()
            with self._trace.tool(tool.name, plan.request.id) as step:
                result = yield Execute(
                    tool, plan.arguments or {}, max_chars=max_chars, heartbeat=heartbeat, step=step
                )
                outcome = tool_call_outcomes.of_result(result)
                if plan.is_changed:
                    outcome = tool_call_outcomes.with_changed_arguments(outcome, plan.json_arguments)
                step.tool_ended(outcome.status)
            return outcome
        finally:
            self._log.end(plan, outcome)

    def _log_excess(self, plans: Sequence[ToolCallPlan]) -> None:
        if plans and plans[0].outcome is not None:
            self._log.end_many(plans, plans[0].outcome)

    def _request_approval(self, plans: Sequence[ToolCallPlan]) -> Work[None]:
        expires_at = clock.now() + timedelta(hours=get_conf().approval_ttl_hours)
        shown_expiry = clock.to_django_time(expires_at)
        for plan in plans:
            text = yield from self._describe(plan)
            self._log.request_approval(plan, expires_at, text)
            call = self._add_call(
                plan.request.id, plan.request.name, plan.json_arguments, ToolCall.Status.AWAITING_APPROVAL, None
            )
            uid = str(plan.columns["uid"])
            text = text or descriptions.without_words(call.name, call.input)
            self.pending.append(PendingApproval(uid, call.name, call.input, shown_expiry, description=text))

    def _describe(self, plan: ToolCallPlan) -> Work[str]:
        """What the call does, in the words of the tool's ``describe``; "" if it has none."""
        describer = None if plan.tool is None else plan.tool.describer
        if describer is None:
            return ""
        heartbeat = self._log.heartbeat()
        result = yield Execute(
            describer,
            plan.arguments or {},
            max_chars=descriptions.MAX_READ,
            heartbeat=heartbeat,
            step=Step(),
        )
        return descriptions.of_result(result)

    def _add_call(self, call_id: str, name: str, arguments: Any, status: str, result: Any) -> LLMToolCall:
        call = _call(call_id, name, arguments, status, result)
        self.calls.append(call)
        return call


def _call_to_send(request: ToolRequest) -> ToolRequest:
    """The call as the model is asked with it next.

    The log stores it too. An invented name is redacted first, because the callable does not find a person's name in
    one whose spaces were replaced.
    """
    return window.sendable_call(replace(request, name=redaction.tool_name(request.name)))


def _call(call_id: str, name: str, arguments: Any, status: str, result: Any) -> LLMToolCall:
    return LLMToolCall(call_id, name, arguments if isinstance(arguments, dict) else {}, result, str(status))
