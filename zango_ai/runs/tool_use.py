"""The tools of an agent in one run: which calls are made, which wait for a person, what the model is told of each.

Whatever becomes of a call is written down and told to the model; none ends the run.
"""

from __future__ import annotations

import logging
import traceback
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from django.db import Error

from .. import sanitize
from ..conf import get_conf
from ..database import writer
from ..ledger import clock, outcomes, recording, stored_runs, tool_calls
from ..memory import window
from ..models import ToolCall
from ..output import reading
from ..tools import DeclaredTool, execution, registry, results
from ..tools.decisions import Decision, Verdict
from ..tools.signature import ArgumentsInvalid
from ..types import AgentSpec, LLMMessage, LLMToolCall, ModelAnswer, PendingApproval, ToolRequest, ToolSchema
from . import tool_endings
from .engine import UseTools
from .tool_endings import Ending

logger = logging.getLogger("zango_ai.tools")

Status = ToolCall.Status
_MAX_TRACEBACK_CHARS = 40_000


@dataclass(frozen=True, slots=True)
class _Asked:
    """A call that the model asks for."""

    request: ToolRequest
    columns: Mapping[str, Any]
    """What its row begins with."""
    given: Any
    """The arguments as JSON; a text where they are none."""
    tool: DeclaredTool | None = None
    arguments: Mapping[str, Any] | None = None
    ending: Ending | None = None
    """Where it is not to be made."""
    is_written: bool = False
    """It was over before the run waited."""
    is_excess: bool = False
    """The answer has more calls than are made; these are written together."""
    must_wait: bool = False


class Toolbox:
    """What an agent may call in one run, and every call so far."""

    def __init__(self, agent: AgentSpec, entry: recording.Entry, *, trigger: str) -> None:
        """Raises ToolDeclarationInvalid for a tool of which no schema can be made."""
        self.calls: list[LLMToolCall] = []
        self.exchanged: list[LLMMessage] = []
        """The model's messages that ask for calls, and the results that it was sent."""
        self.pending: list[PendingApproval] = []
        self._entry = entry
        self._tools = {name: registry.find(name) for name in agent.tools if registry.has(name)}
        self._needs_nobody = agent.auto_approve_system_runs and trigger == "system"
        self._rows: dict[int, Mapping[str, Any]] = {}
        self._decisions: Mapping[str, Decision] = {}
        for name in agent.tools:
            if name not in self._tools:
                logger.warning(
                    "Agent %r of %r has the tool %r, which no code declares", agent.name, agent.schema, name
                )
        self.schemas = tuple(
            ToolSchema(name, made.description, made.parameters_schema) for name, made in self._tools.items()
        )

    @property
    def forgotten(self) -> set[str]:
        """Names of the tools whose calls are not remembered."""
        return {name for name, made in self._tools.items() if made.memory_policy == "exclude"}

    def take_over(self, run: stored_runs.RunRow, decisions: Mapping[str, Decision]) -> None:
        """The calls of a run that has waited, with what was decided of them by their ``uid``."""
        self._decisions = decisions
        for row in run.calls:
            if run.status == "awaiting_approval" and row["number"] == run.rounds_count:
                self._rows[row["position"]] = row
            else:
                self._note(row["call_id"], row["tool_name"], row["arguments"], row["status"], row["result"])

    def use(self, step: UseTools, pause: Callable[[ModelAnswer], None]) -> Sequence[LLMMessage] | None:
        """Make the calls, in order, up to the first that a person has to approve: then ``pause``, and None."""
        asked = [
            self._look_at(request, position, may_call=step.may_call)
            for position, request in enumerate(step.answer.tool_calls, start=1)
        ]
        self._rows = {}
        ready = next((index for index, call in enumerate(asked) if call.must_wait), len(asked))
        told = [self._answer(call) for call in asked[:ready]]
        self._write_excess([call for call in asked[:ready] if call.is_excess])
        if ready < len(asked):
            self._wait_for([call for call in asked[ready:] if call.must_wait])
            pause(step.answer)
            return None
        calls = tuple(map(window.readable, step.answer.tool_calls))
        messages = [LLMMessage("assistant", step.answer.content, calls), *told]
        if step.may_call:  # else nobody goes on with them, and the answer is the last word
            self.exchanged += messages
        return messages

    def _look_at(self, request: ToolRequest, position: int, *, may_call: bool) -> _Asked:
        """Whether the call can be made."""
        row = self._rows.get(position)
        given = _as_json(request.arguments)
        columns = {
            "uid": uuid.UUID(row["uid"]) if row else uuid.uuid4(),
            "position": position,
            "call_id": sanitize.text(request.id),
            "tool_name": sanitize.text(request.name, 200),
            "arguments": sanitize.document(given),
        }
        made = self._tools.get(request.name)
        asked = _Asked(request, columns, given, made)
        if row is not None and row["status"] not in ToolCall.UNFINISHED:
            return replace(asked, ending=Ending(row["status"], row["result"]), is_written=True)
        most = get_conf().max_tool_calls_per_round
        if row is None and position > most:
            ending = tool_endings.too_many(most) if may_call else tool_endings.NO_TOOLS_LEFT
            return replace(asked, ending=ending, is_excess=True)
        if not may_call:
            return replace(asked, ending=tool_endings.NO_TOOLS_LEFT)
        if made is None:
            return replace(asked, ending=tool_endings.unknown_tool(request.name))
        try:
            asked = replace(asked, arguments=made.arguments.read(request.arguments))
        except ArgumentsInvalid as exc:
            return replace(asked, ending=tool_endings.invalid_arguments(exc))
        except Exception as exc:  # a validator of the application's own
            shown = sanitize.text(traceback.format_exc(), _MAX_TRACEBACK_CHARS)
            return replace(asked, ending=tool_endings.of_broken_validator(made, exc, shown))
        if row is not None:
            return _decided(asked, row, self._decisions[row["uid"]])
        return replace(asked, must_wait=made.requires_approval and not self._needs_nobody)

    def _answer(self, call: _Asked) -> LLMMessage:
        ending = call.ending or self._make(call)
        if call.ending is not None and not (call.is_written or call.is_excess):
            self._write(call, ending)
        self._note(call.request.id, call.request.name, call.given, ending.status, ending.told)
        return LLMMessage("tool", results.encoded(ending.told), tool_call_id=call.request.id)

    def _make(self, call: _Asked) -> Ending:
        """Call the tool, as far as its limit a minute allows. Raises LogUnavailable; then it was not called."""
        made = call.tool
        assert made is not None
        entry, schema = self._entry, self._entry.schema
        try:
            begun = tool_calls.begin(schema, entry.run_id, entry.rounds_count, call.columns, made.rate_limit)
        except Error as exc:
            raise outcomes.unavailable(f"The call of tool {made.name!r} cannot be written down", exc) from exc
        if not begun.is_allowed and not begun.wait_s:
            return tool_endings.MADE_BEFORE
        if not begun.is_allowed:
            ending = tool_endings.rate_limited(made, begun.wait_s)
            self._write(call, ending)
            return ending
        ending = tool_endings.INTERRUPTED
        try:
            most = get_conf().max_tool_result_chars
            result = execution.call(made, call.arguments or {}, max_chars=most, beat=self._beat())
            ending = tool_endings.of_result(result)
        finally:
            self._write(call, ending)
        return ending

    def _beat(self) -> Callable[[], None] | None:
        """What says that the run is alive, while a tool works on the connection that a test has one of."""
        schema, run_id = self._entry.schema, self._entry.run_id

        def beat() -> None:
            try:
                tool_calls.touch(schema, run_id)
            except Error:
                logger.exception("Could not touch run %s in %s", run_id, schema)

        return None if writer.is_in_test_transaction() else beat

    def _write(self, call: _Asked, ending: Ending) -> None:
        entry, number = self._entry, self._entry.rounds_count
        columns = {**call.columns, **ending.columns}
        self._write_now_or_later(lambda: tool_calls.write(entry.schema, entry.run_id, number, columns))

    def _write_excess(self, calls: Sequence[_Asked]) -> None:
        """An answer may have thousands of them, so all are one statement."""
        if not calls or calls[0].ending is None:
            return
        entry, number = self._entry, self._entry.rounds_count
        rows, end = [call.columns for call in calls], calls[0].ending.columns
        self._write_now_or_later(lambda: tool_calls.write_many(entry.schema, entry.run_id, number, rows, end))

    def _write_now_or_later(self, write: Callable[[], object]) -> None:
        entry = self._entry
        try:
            write()
        except Error:  # the tool has done its work: its result goes on, and this is written at the end of the run
            logger.exception("Could not write a tool call of run %s in %s", entry.run_id, entry.schema)
            entry.write_later(write)

    def _wait_for(self, calls: Sequence[_Asked]) -> None:
        expires_at = clock.now() + timedelta(hours=get_conf().approval_ttl_hours)
        until = clock.as_seen_by_project(expires_at)
        for call in calls:
            columns = {**call.columns, "status": Status.AWAITING_APPROVAL.value, "expires_at": expires_at}
            try:
                tool_calls.write(self._entry.schema, self._entry.run_id, self._entry.rounds_count, columns)
            except Error as exc:
                raise outcomes.unavailable("What awaits approval cannot be written down", exc) from exc
            arguments = call.given if isinstance(call.given, dict) else {}
            self.pending.append(PendingApproval(str(columns["uid"]), call.request.name, arguments, until))
            self._note(call.request.id, call.request.name, call.given, Status.AWAITING_APPROVAL, None)

    def _note(self, key: str, name: str, given: Any, status: str, told: Any) -> None:
        arguments = given if isinstance(given, dict) else {}
        self.calls.append(LLMToolCall(key, name, arguments, told, str(status)))


def _decided(asked: _Asked, row: Mapping[str, Any], decision: Decision) -> _Asked:
    """The call with what a person has decided of it."""
    now = clock.now()
    decision = decision.at(now, datetime.fromisoformat(row["expires_at"]))
    columns = {
        **asked.columns,
        "decision": sanitize.text(decision.text),
        "decided_by": sanitize.text(decision.by),
        "decided_at": now,
    }
    ending = None if decision.verdict is Verdict.APPROVED else tool_endings.not_approved(decision)
    return replace(asked, columns=columns, ending=ending)


def _as_json(arguments: str) -> Any:
    try:
        return reading.load(arguments.strip() or "{}")
    except ValueError:
        return arguments
