"""``get_agent()`` and what it returns."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

from . import arguments, tenancy
from .conf import get_conf
from .configuration import specs
from .configuration.overrides import Overrides
from .exceptions import AgentNotFound, NotAwaitingApproval, RunStateUnreadable, ZangoAIError
from .files.file import LLMFile
from .ledger import recording, stored_runs
from .ledger.run_state import RunState
from .memory import sessions
from .output.typed import OutputType
from .runs import answers, approval, background, caller, notices, preflight, retry_policy
from .runs.background import EnqueuedRun
from .runs.request_builder import Question
from .runs.run import Run
from .types import TRIGGERS, AgentSpec, LLMMessage, LLMResponse, Trigger

logger = logging.getLogger("zango_ai.agent")

_WAIT_FOR_A_RELEASE_S = 60.0
"""During a deployment: until a worker of the new release takes the run."""


def get_agent(name: str) -> Agent:
    """The enabled agent of that exact name in the current tenant. Raises AgentNotFound."""
    arguments.require_name(name, "get_agent")
    schema = specs.require_tenant(name)
    is_enabled = specs.find_enabled(name)
    if not is_enabled:
        state = "does not exist" if is_enabled is None else "is disabled"
        meant = arguments.did_you_mean(name, specs.enabled_names()) if is_enabled is None else ""
        raise AgentNotFound(
            name,
            f"Agent {name!r} {state} in schema {schema!r}.{meant} Create or enable it in the admin under "
            "AI > Agents; names are case-sensitive.",
        )
    return Agent(name, schema)


class Agent:
    """An agent of one tenant. Its configuration is read afresh at every run; it may be kept and shared."""

    def __init__(self, name: str, schema: str) -> None:
        self.name = name
        self._schema = schema

    def __repr__(self) -> str:
        return f"<Agent {self.name!r} of {self._schema!r}>"

    def run(
        self,
        input: str | None = None,
        *,
        variables: Mapping[str, Any] | None = None,
        system_variables: Mapping[str, Any] | None = None,
        messages: Iterable[LLMMessage] | None = None,
        files: Iterable[LLMFile] | None = None,
        session_id: str | None = None,
        user_ref: str = "",
        triggered_by: Trigger | None = None,
        max_tool_rounds: int | None = None,
        output_type: Any = None,
        model: str | None = None,
        temperature: float | None = None,
        max_tokens: int | None = None,
    ) -> LLMResponse:
        """Ask the model, have it use its tools, and return its answer.

        The user's text is the first of these that is not None: ``input``, sent as it is; ``variables``, which
        fill the placeholders of the agent's user prompt; ``messages``, sent after the system prompt in place of
        the user prompt. With none of them the user prompt is sent as it is.

        ``files`` go along with the last message of the user.
        ``system_variables`` fill the placeholders of the system prompt; None leaves it as it is.
        ``session_id`` continues the conversation of that id, where the agent has memory, or begins it; None
        begins a new one. The response tells the id.
        ``user_ref`` names the person on whose behalf the agent runs, for the log. A session that was opened with
        one is continued with that one only.
        ``max_tool_rounds`` bounds the rounds of tool calls; None: as the agent is configured. Then the model has to
        answer without tools. Where a tool needs a person's approval, the response has ``pending_approvals``, and
        ``resume()`` goes on.
        ``output_type`` is a pydantic model, a dataclass or a JSON schema as a dict. For this call the answer is
        JSON of that schema, and ``parsed_content`` an instance of the type, or the plain value.
        ``model``, ``temperature`` and ``max_tokens`` replace the agent's settings for this call. The model must be
        allowed on the agent's provider. A fallback keeps its own model, and takes the other two.
        ``triggered_by`` is ``"user"``, ``"task"`` or ``"system"``; None: ``"task"`` inside a Celery task, else
        ``"user"``.

        Raises a ZangoAIError with ``invocation_id``; TypeError or ValueError for a wrong argument.
        """
        question = Question(input, variables, system_variables, messages, files)
        task_id = caller.current_celery_task_id() or ""
        overrides = Overrides(model, temperature, max_tokens)
        trigger = _trigger(triggered_by, task_id)
        call = _Call(question, session_id, user_ref, trigger, max_tool_rounds, output_type, overrides)
        with recording.record(
            self._schema, agent_name=self.name, triggered_by=call.trigger, celery_task_id=task_id
        ) as entry:
            agent, run = self._prepared(entry, call)
            run.ask(session_id, user_ref, call.tool_rounds(agent))
        return run.response()

    def enqueue(
        self,
        input: str | None = None,
        *,
        variables: Mapping[str, Any] | None = None,
        system_variables: Mapping[str, Any] | None = None,
        messages: Iterable[LLMMessage] | None = None,
        files: Iterable[LLMFile] | None = None,
        session_id: str | None = None,
        user_ref: str = "",
        triggered_by: Trigger | None = None,
        max_tool_rounds: int | None = None,
        output_type: Any = None,
        model: str | None = None,
        temperature: float | None = None,
        max_tokens: int | None = None,
    ) -> EnqueuedRun:
        """Have a Celery worker run the agent, with the arguments of ``run()``.

        The arguments are checked now and what they say is kept: the prompts are rendered, the files stored. The
        row is there at once, as ``queued``; the task is sent when the caller's transaction commits.
        ``zango_ai.get_run`` finds the run in any process. ``triggered_by`` None is ``"task"``. Of an
        ``output_type`` the answer is held against the schema, and comes back as plain JSON.

        Raises what ``run()`` raises before it asks anybody, but for what the price list is needed for: that is on
        the row. QueueUnavailable, where there is no transaction to wait for and the broker does not take the task.
        """
        question = Question(input, variables, system_variables, messages, files)
        trigger = _trigger(triggered_by, "background")
        overrides = Overrides(model, temperature, max_tokens)
        call = _Call(question, session_id, user_ref, trigger, max_tool_rounds, output_type, overrides)
        with recording.record(self._schema, agent_name=self.name, triggered_by=trigger) as entry:
            agent, run = self._prepared(entry, call)
            run.queue(session_id, user_ref, call.tool_rounds(agent))
        return background.enqueue(entry.run_id, self._schema)

    def resume(
        self,
        run_id: UUID | str,
        approvals: Mapping[Any, bool | str],
        *,
        decided_by: str = "",
        output_type: Any = None,
    ) -> LLMResponse:
        """Go on with a run that has stopped for approvals, in any process, once.

        ``approvals`` decides every tool call of ``response.pending_approvals`` by its id: True, False, or a text:
        the reason against it, which the model is told. An approval that comes too late is expired. ``decided_by``
        is kept with the calls, for the log. Give ``output_type`` again where ``run()`` had it.

        Raises NotAwaitingApproval where the run does not wait (any more); ValueError where a call is not decided,
        or one that does not wait is; RunStateUnreadable where a newer release has stored the run, which then keeps
        waiting; and what ``run()`` raises.
        """
        background.require_run_id(run_id)
        approval.require_mapping(approvals)
        specs.require_same_tenant(self.name, self._schema)
        row = self._awaiting(run_id)
        decisions = approval.read(row, approvals, decided_by)
        if output_type is not None:
            OutputType(output_type)  # what is wrong with it is to be told before the run is claimed
        state = row.state()
        if not stored_runs.claim(self._schema, row):
            raise _not_awaiting(run_id, "it has just been decided")
        with recording.go_on(self._schema, row) as entry:
            run = self._resumed(entry, row, state, output_type)
            run.go_on(row, state, decisions)
        return run.response()

    def _execute(self, row: stored_runs.RunRow, state: RunState, retries: retry_policy.Retries) -> None:
        """Go on with a queued run that is claimed."""
        with recording.go_on(self._schema, row) as entry:
            run = self._resumed(entry, row, state, None)
            entry.again = lambda exc: replace(run.state(), **retries.next(exc)) if retries.allow(exc) else None
            run.go_on(row, state, {})

    def clear_session(self, session_id: str) -> bool:
        """End a conversation and delete what was said in it. False where there is none of that id.

        The same id used again begins an empty one. A run that is under way does not write into it any more. Like
        all that is remembered, this is not undone by a rollback of the caller's. Raises WrongTenant.
        """
        arguments.require(session_id, str, "session_id", "the id of the conversation to end as a str")
        specs.require_same_tenant(self.name, self._schema)
        sessions.require_session_id(session_id)
        agent_id = specs.find_agent_id(self.name)
        return agent_id is not None and sessions.clear(self._schema, agent_id, session_id)

    def _prepared(self, entry: recording.Entry, call: _Call) -> tuple[AgentSpec, Run]:
        """The agent as it is configured now, and its run, ready to be asked or queued."""
        specs.require_same_tenant(self.name, self._schema)
        entry.note_caller(call.user_ref, call.question.variables, call.question.system_variables)
        call.question.require_types()
        sessions.require_session_id(call.session_id)
        agent, typed = answers.with_type(self._read(entry, call.overrides), call.output_type)
        notices.tell(agent, call.question, call.session_id)
        run = Run(
            entry,
            agent,
            typed,
            trigger=call.trigger,
            has_own_schema=typed is not None,
            overrides=call.overrides,
        )
        run.prepare(call.question)
        return agent, run

    def _resumed(self, entry: recording.Entry, row: stored_runs.RunRow, state: RunState, output_type: Any) -> Run:
        configured = self._read(entry, state.overrides)
        if row.agent_id not in {None, configured.id}:
            raise AgentNotFound(
                self.name, f"The agent of run {row.run_id} has been deleted; {self.name!r} is another."
            )
        agent, typed = answers.with_type(configured, output_type)
        agent = answers.with_schema(agent, state.output_json_schema)
        has_own_schema = state.output_json_schema is not None or typed is not None
        return Run(
            entry,
            agent,
            typed,
            trigger=row.triggered_by,
            has_own_schema=has_own_schema,
            overrides=state.overrides,
        )

    def _awaiting(self, run_id: UUID | str) -> stored_runs.RunRow:
        """Raises NotAwaitingApproval."""
        key = background.uuid_of(run_id)
        row = None if key is None else stored_runs.find(self._schema, key)
        if row is None or row.agent_id is None or row.agent_id != specs.find_agent_id(self.name):
            where = f"schema {self._schema!r}"
            raise _not_awaiting(run_id, f"agent {self.name!r} has no run of that id in {where}")
        if row.status != stored_runs.Status.AWAITING_APPROVAL:
            raise _not_awaiting(run_id, f"its status is {row.status}")
        return row

    def _read(self, entry: recording.Entry, overrides: Overrides) -> AgentSpec:
        """The agent as it is configured now, with what this call replaces, fit to run."""
        agent = specs.read_agent(self.name)
        if agent is None:
            raise AgentNotFound(self.name, f"Agent {self.name!r} has been deleted from schema {self._schema!r}.")
        agent = overrides.apply(agent)
        entry.describe(agent)
        preflight.require_enabled(agent)
        return agent


@dataclass(frozen=True, slots=True)
class _Call:
    """What a run is asked for, beside where."""

    question: Question
    session_id: str | None
    user_ref: str
    trigger: str
    max_tool_rounds: int | None
    output_type: Any
    overrides: Overrides

    def __post_init__(self) -> None:
        most = self.max_tool_rounds
        if most is None:
            return
        arguments.require(most, int, "max_tool_rounds", "a whole number from 0")
        if isinstance(most, bool) or most < 0:
            raise ValueError(f"max_tool_rounds is {most!r}; make it a whole number from 0.")

    def tool_rounds(self, agent: AgentSpec) -> int:
        return agent.max_tool_rounds if self.max_tool_rounds is None else self.max_tool_rounds


def execute_queued(run_id: str, *, celery_task_id: str, waits: bool = True) -> float:
    """Go on with a queued run of the current tenant, unless somebody has already.

    Returns after how many seconds it is to be tried again, 0 where it is not; ``waits`` says to wait that long.
    Raises RunNotFound, and what ``run()`` raises that is not tried again.
    """
    schema = tenancy.current_schema()
    row = background.row_of(run_id, schema)
    if row.status != stored_runs.Status.QUEUED:
        return 0.0  # delivered twice, or given up
    try:
        state = row.state()
    except RunStateUnreadable:
        if not waits:
            raise
        logger.exception("Run %s of %s was queued by a newer release; trying again later", run_id, schema)
        return _WAIT_FOR_A_RELEASE_S
    retries = retry_policy.Retries(state.attempt, get_conf().background_retries)
    early_s = retry_policy.early_s(state.not_before)
    if early_s and waits:
        return early_s  # another delivery of a task that is to wait
    if not stored_runs.claim(schema, row, celery_task_id=celery_task_id):
        return 0.0
    try:
        Agent(specs.find_agent_name(row.agent_id) or row.agent_name, schema)._execute(row, state, retries)
    except ZangoAIError as exc:
        if not retries.allow(exc):
            raise
        return retries.wait_s(exc)
    return 0.0


def _trigger(given: str | None, task_id: str | None) -> str:
    if given is None:
        return "task" if task_id else "user"
    if given not in TRIGGERS:
        raise ValueError(f"triggered_by is {given!r}; use one of {', '.join(TRIGGERS)}.")
    return given


def _not_awaiting(run_id: object, reason: str) -> NotAwaitingApproval:
    return NotAwaitingApproval(run_id, f"Run {run_id} does not wait for an approval: {reason}.")
