"""``get_agent()`` and what it returns."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any
from uuid import UUID

from . import answers, approval, callers, composition, fitness
from .composition import Question
from .exceptions import AgentNotFound
from .files import LLMFile
from .providers import chat
from .runs import Run
from .store import configs, ledger, memory, waiting
from .types import TRIGGERS, AgentSpec, LLMMessage, LLMResponse, Trigger


def get_agent(name: str) -> Agent:
    """The enabled agent of that exact name in the current tenant. Raises AgentNotFound."""
    schema = configs.require_tenant(name)
    spec = configs.read_agent(name)
    if spec is None or not spec.is_enabled:
        state = "is disabled" if spec else "does not exist"
        raise AgentNotFound(
            name,
            f"Agent {name!r} {state} in schema {schema!r}. Create or enable it in the admin under AI > Agents; "
            "capital letters count.",
        )
    return Agent(spec.name, schema)


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
        ``output_type`` is a pydantic model or a dataclass: for this call the answer is JSON of its schema, and
        ``parsed_content`` an instance of it.
        ``triggered_by`` is ``"user"``, ``"task"`` or ``"system"``; None: ``"task"`` inside a Celery task, else
        ``"user"``.

        Raises a ZangoAIError with ``invocation_id``; ValueError for a wrong ``triggered_by``.
        """
        task_id = callers.current_celery_task_id()
        trigger = _trigger(triggered_by, task_id)
        if max_tool_rounds is not None and (isinstance(max_tool_rounds, bool) or max_tool_rounds < 0):
            raise ValueError(f"max_tool_rounds is {max_tool_rounds!r}; make it a whole number from 0.")
        with ledger.record(
            self._schema, agent_name=self.name, triggered_by=trigger, celery_task_id=task_id or ""
        ) as entry:
            configs.require_same_tenant(self.name, self._schema)
            entry.note_caller(user_ref, variables, system_variables)
            memory.require_session_id(session_id)
            agent, typed = answers.with_type(self._read(entry), output_type)
            run = Run(entry, agent, typed, trigger=trigger)
            question = Question(input, variables, system_variables, messages, files)
            composed = composition.compose(agent, question, run.toolbox.schemas)
            entry.note_texts(composed.system_text, composed.user_text)
            fitness.require_schema(agent)
            fitness.load(entry, composed.request.files)
            chat.warm_up()
            targets = fitness.targets(agent, composed.request.files)
            session = None
            if agent.has_memory:
                entry.note(session_id=session_id)
                session = memory.open_session(agent, session_id, user_ref)
                entry.note(session_id=session.session_id)
                composed = composed.after(session.history)
            run.ask(
                composed, targets, session, agent.max_tool_rounds if max_tool_rounds is None else max_tool_rounds
            )
        return run.response()

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
        the reason against it, which the model is told. One that has expired counts as denied. ``decided_by`` is
        kept with the calls, for the log. Give ``output_type`` again where ``run()`` had it.

        Raises NotAwaitingApproval where the run does not wait (any more); ValueError where a call is not decided,
        or one that does not wait is; and what ``run()`` raises.
        """
        configs.require_same_tenant(self.name, self._schema)
        key = _uuid(run_id)
        waits = waiting.find(self._schema, self.name, key)
        decisions = approval.read(waits, approvals, decided_by)
        waiting.claim(self._schema, waits)
        with ledger.go_on(self._schema, waits) as entry:
            agent, typed = answers.with_type(self._read(entry), output_type)
            agent = answers.with_schema(agent, waits.goes_on_with["output_json_schema"])
            chat.warm_up()
            run = Run(entry, agent, typed, trigger=waits.triggered_by)
            run.go_on(waits, decisions)
        return run.response()

    def clear_session(self, session_id: str) -> bool:
        """End a conversation and delete what was said in it. False where there is none of that id.

        The same id used again begins an empty one. A run that is under way does not write into it any more. Like
        all that is remembered, this is not undone by a rollback of the caller's. Raises WrongTenant.
        """
        configs.require_same_tenant(self.name, self._schema)
        if session_id is None:
            raise TypeError("session_id is None; pass the id of the conversation to end.")
        memory.require_session_id(session_id)
        agent_id = configs.find_agent_id(self.name)
        return agent_id is not None and memory.clear(self._schema, agent_id, session_id)

    def _read(self, entry: ledger.Entry) -> AgentSpec:
        """The agent as it is configured now, fit to run."""
        agent = configs.read_agent(self.name)
        if agent is None:
            raise AgentNotFound(self.name, f"Agent {self.name!r} has been deleted from schema {self._schema!r}.")
        entry.describe(agent)
        fitness.require_enabled(agent)
        return agent


def _trigger(given: str | None, task_id: str | None) -> str:
    if given is None:
        return "task" if task_id else "user"
    if given not in TRIGGERS:
        raise ValueError(f"triggered_by is {given!r}; use one of {', '.join(TRIGGERS)}.")
    return given


def _uuid(run_id: UUID | str) -> UUID:
    try:
        return run_id if isinstance(run_id, UUID) else UUID(str(run_id))
    except ValueError:
        raise waiting.not_awaiting(run_id, "that is no id of a run") from None
