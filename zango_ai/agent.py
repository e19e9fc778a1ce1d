"""``get_agent()`` and what it returns."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any

from . import callers, composition, history, output
from .composition import Composed, Question
from .conf import get_conf
from .engine import drivers, turns
from .exceptions import (
    AgentDisabled,
    AgentNotFound,
    LLMFileError,
    ModelNotAvailable,
    OutputSchemaInvalid,
    ProviderDisabled,
    ZangoAIError,
)
from .files import LLMFile
from .providers import attachments, chat, errors
from .store import configs, ledger, memory
from .typed_output import OutputType
from .types import (
    TRIGGERS,
    AgentSpec,
    LLMMessage,
    LLMResponse,
    ModelAnswer,
    Target,
    Trigger,
)

logger = logging.getLogger("zango_ai.agent")

_CHANCE = turns.Chance(now=time.monotonic, random=random.random)


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
        output_type: Any = None,
    ) -> LLMResponse:
        """Ask the model once and return its answer.

        The user's text is the first of these that is not None: ``input``, sent as it is; ``variables``, which
        fill the placeholders of the agent's user prompt; ``messages``, sent after the system prompt in place of
        the user prompt. With none of them the user prompt is sent as it is.

        ``files`` go along with the last message of the user.
        ``system_variables`` fill the placeholders of the system prompt; None leaves it as it is.
        ``session_id`` continues the conversation of that id, where the agent has memory, or begins it; None
        begins a new one. The response tells the id.
        ``user_ref`` names the person on whose behalf the agent runs, for the log. A session that was opened with
        one is continued with that one only.
        ``output_type`` is a pydantic model or a dataclass: for this call the answer is JSON of its schema, and
        ``parsed_content`` an instance of it.
        ``triggered_by`` is ``"user"``, ``"task"`` or ``"system"``; None: ``"task"`` inside a Celery task, else
        ``"user"``.

        Raises a ZangoAIError with ``invocation_id``; ValueError for a wrong ``triggered_by``.
        """
        task_id = callers.current_celery_task_id()
        trigger = _trigger(triggered_by, task_id)
        with ledger.record(
            self._schema, agent_name=self.name, triggered_by=trigger, celery_task_id=task_id or ""
        ) as entry:
            configs.require_same_tenant(self.name, self._schema)
            entry.note_caller(user_ref, variables, system_variables)
            memory.require_session_id(session_id)
            agent, typed = _with_type(self._read(entry), output_type)
            question = Question(input, variables, system_variables, messages, files)
            composed = composition.compose(agent, question)
            entry.note_texts(composed.system_text, composed.user_text)
            _require_schema(agent)
            _load(entry, composed.request.files)
            chat.warm_up()
            targets = _targets(agent, composed.request.files)
            session = memory.open_session(agent, session_id, user_ref) if agent.has_memory else None
            if session is not None:
                entry.note(session_id=session.session_id)
                composed = composed.after(session.history)
            reading = _Reading(agent, typed, entry, session, composed)
            conversation = turns.answer(composed.request, targets, _CHANCE, reading.read, agent.output_retries)
            answer = drivers.drive(conversation, lambda step: _ask(entry, step))
            parsed = reading.parsed
            entry.succeed()
        return _response(entry, answer, parsed, session)

    def clear_session(self, session_id: str) -> bool:
        """End a conversation and delete what was said in it. False where there is none of that id.

        The same id used again begins an empty one. A run that is under way does not write into it any more. Like
        all that is remembered, this is not undone by a rollback of the caller's. Raises WrongTenant.
        """
        configs.require_same_tenant(self.name, self._schema)
        memory.require_session_id(session_id)
        agent_id = configs.find_agent_id(self.name)
        return agent_id is not None and memory.clear(self._schema, agent_id, session_id)

    def _read(self, entry: ledger.Entry) -> AgentSpec:
        """The agent as it is configured now, fit to run."""
        agent = configs.read_agent(self.name)
        if agent is None:
            raise AgentNotFound(self.name, f"Agent {self.name!r} has been deleted from schema {self._schema!r}.")
        entry.describe(agent)
        _require_enabled(agent)
        return agent


def _trigger(given: str | None, task_id: str | None) -> str:
    if given is None:
        return "task" if task_id else "user"
    if given not in TRIGGERS:
        raise ValueError(f"triggered_by is {given!r}; use one of {', '.join(TRIGGERS)}.")
    return given


def _require_enabled(agent: AgentSpec) -> None:
    provider = agent.provider
    if not agent.is_enabled:
        raise AgentDisabled(
            agent.name, f"Agent {agent.name!r} is disabled in schema {agent.schema!r}. Enable it in the admin."
        )
    if not provider.is_enabled:
        raise ProviderDisabled(
            provider.name,
            f"Provider {provider.name!r} of agent {agent.name!r} is disabled. Enable it in the admin, or give "
            "the agent another provider.",
        )
    if not agent.model:
        raise ModelNotAvailable(
            "",
            provider.name,
            f"Neither agent {agent.name!r} nor its provider {provider.name!r} names a model. Give the agent "
            "one, or the provider a default model.",
        )
    if not provider.allows(agent.model):
        raise ModelNotAvailable(
            agent.model,
            provider.name,
            f"Model {agent.model!r} of agent {agent.name!r} is not enabled on provider {provider.name!r}. "
            "Enable it in the provider's list of models, or choose another model for the agent.",
        )


def _require_schema(agent: AgentSpec) -> None:
    """Raises OutputSchemaInvalid before anything is paid for."""
    if agent.output_schema != "json" or agent.output_json_schema is None:
        return
    problem = output.problem_of(agent.output_json_schema)
    if problem is not None:
        raise OutputSchemaInvalid(f"The JSON schema of agent {agent.name!r} is not valid: {problem}")


def _load(entry: ledger.Entry, files: Sequence[LLMFile]) -> None:
    """Read and keep the files, one after the other. Raises LLMFileError."""
    conf = get_conf()
    if not files:
        return
    entry.open()  # a storage may take its time, and the process may end in it
    for position, file in enumerate(files):
        if position == conf.max_files:
            raise LLMFileError(
                file.filename,
                f"{len(files)} files are too many, from {file.filename!r} on: send {conf.max_files} at most, or "
                "raise ZANGO_AI['MAX_FILES'].",
            )
        file.load(conf.max_file_bytes)
        entry.attach(file)


def _targets(agent: AgentSpec, files: Sequence[LLMFile]) -> list[Target]:
    """Whom to ask: the agent's own provider, and of its fallbacks those that may be used now."""
    own = Target(agent.provider, agent.model)
    _require_fit(agent, own, files)
    return [own, *(target for target in agent.fallbacks if _is_usable(agent, target, files))]


def _require_fit(agent: AgentSpec, target: Target, files: Sequence[LLMFile]) -> None:
    chat.check(target.provider)
    chat.require_chat_model(target.provider, target.model)
    attachments.require_taken(target, files)
    if agent.budget.limit_usd is not None or target.provider.budget.limit_usd is not None:
        chat.require_price(target.provider, target.model)


def _is_usable(agent: AgentSpec, target: Target, files: Sequence[LLMFile]) -> bool:
    """A fallback that is switched off or not fit is passed over: it is there to help."""
    if not (target.model and target.provider.is_enabled and target.provider.allows(target.model)):
        return False
    try:
        _require_fit(agent, target, files)
    except ZangoAIError as exc:
        logger.warning("A fallback is passed over: %s", exc)
        return False
    return True


def _ask(entry: ledger.Entry, step: turns.Ask) -> ModelAnswer:
    """One call to a provider, written down before and after."""
    provider = step.target.provider
    request = chat.shaped(provider, step.request)
    entry.begin_round(step.target, request, chat.estimate(provider, request))
    try:
        answer = chat.ask(provider, request)
    except ZangoAIError as exc:
        entry.fail_round(exc, errors.words_of(exc))
        raise
    entry.settle_round(answer)
    return answer


def _with_type(agent: AgentSpec, output_type: Any) -> tuple[AgentSpec, OutputType | None]:
    """The agent as it answers this call."""
    if output_type is None:
        return agent, None
    typed = OutputType(output_type)
    return replace(agent, output_schema="json", output_json_schema=typed.schema), typed


class _Reading:
    """Takes an answer, or raises why not; what was said last is noted and remembered in any case."""

    def __init__(
        self,
        agent: AgentSpec,
        typed: OutputType | None,
        entry: ledger.Entry,
        session: memory.Session | None,
        composed: Composed,
    ) -> None:
        self.parsed: Any = None
        self._agent, self._typed, self._entry, self._composed = agent, typed, entry, composed
        self._last: ModelAnswer | None = None
        if session is not None:
            # When the run ends, however that is: the model has said it.
            entry.at_end(lambda: self._remember(session))

    def read(self, answer: ModelAnswer) -> None:
        self._last = answer
        self._entry.note_answer(answer.content)
        if self._agent.output_schema != "json":
            return
        value = output.parse(answer.content, stop_reason=answer.stop_reason)
        if self._agent.output_json_schema is not None:
            output.validate(value, self._agent.output_json_schema)
        self.parsed = value if self._typed is None else self._typed.read(value)

    def _remember(self, session: memory.Session) -> None:
        if self._last is None:
            return
        said = (*self._composed.said, LLMMessage("assistant", self._last.content))
        turn = history.kept(said)
        memory.remember(self._entry.schema, session, turn, self._entry.invocation_id)


def _response(entry: ledger.Entry, answer: ModelAnswer, parsed: Any, session: memory.Session | None) -> LLMResponse:
    assert entry.invocation_id is not None
    return LLMResponse(
        content=answer.content,
        parsed_content=parsed,
        session_id=None if session is None else session.session_id,
        cost_usd=float(entry.cost_usd or Decimal(0)),
        is_cost_known=entry.cost_usd is not None,
        usage=entry.usage,
        model=answer.model,
        latency_ms=entry.latency_ms,
        stop_reason=answer.stop_reason,
        invocation_id=entry.invocation_id,
        run_id=entry.run_id,
    )
