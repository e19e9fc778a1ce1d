"""``get_agent()`` and the ``Agent`` that it returns.

To follow one run, read ``Agent.run()``, then ``runs/preparation.py``, ``runs/run.py`` and ``runs/engine.py``.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator, Mapping
from contextlib import AbstractContextManager, ExitStack
from dataclasses import replace
from typing import Any, Unpack
from uuid import UUID

from . import argument_checks, tenancy
from .configuration import agents
from .configuration.overrides import Overrides
from .exceptions import AgentNotFound
from .ledger.recorder import RunRecorder
from .ledger.recording import record_run
from .memory import sessions
from .runs import async_context, background, drivers, queue
from .runs.approval import Approval
from .runs.arguments import RunArguments, RunRequest, lists_run_arguments
from .runs.background import EnqueuedRun
from .runs.drivers import Work
from .runs.preparation import prepare
from .runs.resumption import WaitingRun
from .runs.run import open_run, queue_run, resumed_stream_of, stream, streamed_work_of, work_of
from .types import LLMResponse, LLMStreamChunk, Trigger
from .types.responses import OutputTypeArgument, Parsed


def get_agent(name: str) -> Agent:
    """The enabled agent of that exact name in the current tenant. Raises AgentNotFound."""
    argument_checks.require_name(name, "get_agent")
    schema = agents.require_tenant(name)
    is_enabled = agents.find_enabled(name)
    if not is_enabled:
        state = "does not exist" if is_enabled is None else "is disabled"
        suggestion = argument_checks.did_you_mean(name, agents.enabled_names()) if is_enabled is None else ""
        raise AgentNotFound(
            name,
            f"Agent {name!r} {state} in schema {schema!r}.{suggestion} Create or enable it in the admin under "
            "AI > Agents; names are case-sensitive.",
        )
    return Agent(name, schema)


async def aget_agent(name: str) -> Agent:
    """The async form of ``get_agent()``."""
    return await drivers.call_async(lambda: get_agent(name))


class Agent:
    """An agent of one tenant. Every run reads its configuration afresh, so an ``Agent`` may be kept and shared."""

    def __init__(self, name: str, schema: str, overrides: Overrides = Overrides()) -> None:  # noqa: B008 - frozen
        self.name = name
        self._schema, self._overrides = schema, overrides

    def __repr__(self) -> str:
        return f"<Agent {self.name!r} of {self._schema!r}>"

    def with_overrides(self, overrides: Overrides) -> Agent:
        """The same agent, whose runs use these settings in place of the configured ones."""
        return Agent(self.name, self._schema, overrides)

    @lists_run_arguments
    def run(self, input: str | None = None, **arguments: Unpack[RunArguments[Parsed]]) -> LLMResponse[Parsed]:
        """Ask the model, execute the tools that it calls, and return its answer.

        The user's text is the first of these that is not None: ``input``, sent as it is; ``variables``, which fill
        the placeholders of the agent's user prompt; ``messages``, sent in place of the user prompt. With none of
        them, the user prompt is sent as it is. ``RunArguments`` in ``zango_ai.runs.arguments`` describes every
        argument.

        If a tool call needs a person's approval, the response has ``pending_approvals``. Pass the decisions to
        ``resume()``.

        Raises a ZangoAIError with ``invocation_id``; TypeError or ValueError for a wrong argument.
        """
        return drivers.exhaust(self._work(*self._recording("run", input, arguments)))

    @lists_run_arguments
    async def arun(
        self, input: str | None = None, **arguments: Unpack[RunArguments[Parsed]]
    ) -> LLMResponse[Parsed]:
        """The async form of ``run()``.

        While the provider works, the run uses no thread. If the task is cancelled, the connection to the provider
        is closed, and the run ends as ``cancelled``.
        """
        return await drivers.run_async(self._work(*self._recording("arun", input, arguments)))

    @lists_run_arguments
    def stream(
        self, input: str | None = None, **arguments: Unpack[RunArguments[Parsed]]
    ) -> Generator[LLMStreamChunk[Parsed], None, None]:
        """Like ``run()``, but yield the answer while the model writes it. The arguments are those of ``run()``.

        The arguments are checked, the agent is read and the prompts are rendered now: the errors of that are raised
        here. The session is opened and the provider called when the first chunk is read. The last chunk has the
        type ``final`` and the ``response``.

        Closing the iterator early, or leaving its ``for`` loop, closes the connection to the provider and ends the
        run as ``cancelled``. What the model has produced is billed; the turn is not remembered. A stream that
        nobody reads is ``cancelled`` as well.

        The iterator may be read in another thread, and while another tenant is active: the run keeps to its own
        tenant.
        """
        return self.open_stream(input, **arguments)[1]

    def open_stream(
        self, input: str | None = None, **arguments: Unpack[RunArguments[Parsed]]
    ) -> tuple[UUID, Generator[LLMStreamChunk[Parsed], None, None]]:
        """``stream()`` with the id of its run, which is known before the first chunk."""
        request, recording = self._recording("stream", input, arguments)
        with ExitStack() as stack:
            recorder = stack.enter_context(recording)
            prepared = prepare(recorder, self.name, request)
            return recorder.run_id, tenancy.keep_active(stream(prepared, stack.pop_all()))

    @lists_run_arguments
    def astream(
        self, input: str | None = None, **arguments: Unpack[RunArguments[Parsed]]
    ) -> AsyncGenerator[LLMStreamChunk[Parsed], None]:
        """The async form of ``stream()``, for ``async for``.

        TypeError and ValueError for a wrong argument are raised here, all other errors when the first chunk is
        read. The run starts then. Leaving the loop early ends the run as ``cancelled`` soon; ``aclose()`` does so
        before it returns.
        """
        request, recording = self._recording("astream", input, arguments)
        return drivers.stream_async(self._streamed_work(request, recording), async_context.of_event_loop())

    @lists_run_arguments
    def enqueue(
        self, input: str | None = None, *, stream: bool = False, **arguments: Unpack[RunArguments[Parsed]]
    ) -> EnqueuedRun[Parsed]:
        """Queue the run for a worker. The arguments are those of ``run()``.

        The arguments are checked, the prompts rendered and the files stored now. The run's row is written at once,
        with the status ``queued``. The task is sent when the caller's transaction commits. ``zango_ai.get_run()``
        finds the run in any process; pass it the ``output_type`` again. The worker validates the answer against the
        JSON schema of that type, and ``EnqueuedRun.response()`` converts it.

        With ``stream=True``, the worker stores the chunks of the answer, and ``EnqueuedRun.stream()`` reads them in
        any process. Maintenance deletes them a day after the run has ended.

        Raises the errors that ``run()`` raises before it calls the provider, except those that need the price
        list: the row shows them later. QueueUnavailable if there is no transaction and the queue does not accept
        the task.
        """
        argument_checks.require(stream, bool, "stream", "True or False")
        request = self._request("enqueue", input, arguments, "task")
        with record_run(
            self._schema, agent_name=self.name, is_queued=True, triggered_by=request.trigger
        ) as recorder:
            prepared = prepare(recorder, self.name, request)
            queue_run(replace(prepared, stores_chunks=stream))
        return background.send(recorder.run_id, self._schema, prepared.output.output_type)

    @lists_run_arguments
    async def aenqueue(
        self, input: str | None = None, *, stream: bool = False, **arguments: Unpack[RunArguments[Parsed]]
    ) -> EnqueuedRun[Parsed]:
        """The async form of ``enqueue()``."""
        return await drivers.call_async(lambda: self.enqueue(input, stream=stream, **arguments))

    def resume(
        self,
        run_id: UUID | str,
        approvals: Mapping[Any, Approval],
        *,
        decided_by: str = "",
        output_type: OutputTypeArgument[Parsed] = None,
    ) -> LLMResponse[Parsed]:
        """Continue a run that waits for approvals. It works in any process, and once.

        ``approvals`` decides every tool call in ``response.pending_approvals`` by its id: True; False, or the
        reason for denying it; or a dict of other arguments to approve it with. The model is told the reason and
        the other arguments. A call that is approved after its ``expires_at`` is not executed. ``decided_by`` is
        logged with the calls. Pass ``output_type`` again if ``run()`` had it.

        Raises NotAwaitingApproval if the run does not wait for an approval; ValueError if ``approvals`` lacks a
        pending call, has an unknown one, or arguments that the tool does not take; DecisionNotAllowed if the agent
        needs the approval of another person; RunStateUnreadable if a newer release stored the run, which then keeps
        waiting; and the errors of ``run()``.
        """
        return drivers.exhaust(self._resumed_work(WaitingRun(run_id, approvals, decided_by, output_type)))

    async def aresume(
        self,
        run_id: UUID | str,
        approvals: Mapping[Any, Approval],
        *,
        decided_by: str = "",
        output_type: OutputTypeArgument[Parsed] = None,
    ) -> LLMResponse[Parsed]:
        """The async form of ``resume()``."""
        return await drivers.run_async(self._resumed_work(WaitingRun(run_id, approvals, decided_by, output_type)))

    def resume_stream(
        self,
        run_id: UUID | str,
        approvals: Mapping[Any, Approval],
        *,
        decided_by: str = "",
        output_type: OutputTypeArgument[Parsed] = None,
    ) -> Generator[LLMStreamChunk[Parsed], None, None]:
        """Like ``resume()``, but yield the rest of the run as ``stream()`` does. The numbers begin at 1 again.

        The decisions are checked now: the errors of ``resume()`` before it calls a tool are raised here. A run of
        ``enqueue(stream=True)`` yields its rest in one piece, because its chunks are stored for its readers.
        """
        waiting = WaitingRun(run_id, approvals, decided_by, output_type)
        with ExitStack() as stack:
            run = waiting.resume(self._schema, self.name, stack)
            return tenancy.keep_active(drivers.chunks_of(resumed_stream_of(run, stack.pop_all())))

    def aresume_stream(
        self,
        run_id: UUID | str,
        approvals: Mapping[Any, Approval],
        *,
        decided_by: str = "",
        output_type: OutputTypeArgument[Parsed] = None,
    ) -> AsyncGenerator[LLMStreamChunk[Parsed], None]:
        """The async form of ``resume_stream()``. Errors are raised when the first chunk is read."""
        work = self._resumed_stream(WaitingRun(run_id, approvals, decided_by, output_type))
        return drivers.stream_async(work, async_context.of_event_loop())

    def enqueue_resume(
        self, run_id: UUID | str, approvals: Mapping[Any, Approval], *, decided_by: str = ""
    ) -> EnqueuedRun:
        """Store the decisions of ``resume()``, and let a worker continue the run.

        The decisions are final at once: a second caller gets NotAwaitingApproval. The task is sent when the
        caller's transaction commits. If the queue does not accept it, the run waits for a decision again.

        Raises QueueUnavailable if there is no transaction and the queue does not accept the task, and the errors
        that ``resume()`` raises before the run goes on.
        """
        return WaitingRun(run_id, approvals, decided_by).enqueue(self._schema, self.name)

    async def aenqueue_resume(
        self, run_id: UUID | str, approvals: Mapping[Any, Approval], *, decided_by: str = ""
    ) -> EnqueuedRun:
        """The async form of ``enqueue_resume()``."""
        return await drivers.call_async(lambda: self.enqueue_resume(run_id, approvals, decided_by=decided_by))

    def clear_session(self, session_id: str) -> bool:
        """End a conversation and delete its messages. False if there is no active session of that id.

        The same id used again starts an empty conversation. A run in progress no longer writes to the session. A
        rollback of the caller's transaction does not undo this. Raises WrongTenant.
        """
        argument_checks.require(session_id, str, "session_id", "the id of the conversation to end as a str")
        agents.require_same_tenant(self.name, self._schema)
        sessions.require_session_id(session_id)
        agent_id = agents.find_agent_id(self.name)
        return agent_id is not None and sessions.clear(self._schema, agent_id, session_id)

    async def aclear_session(self, session_id: str) -> bool:
        """The async form of ``clear_session()``."""
        return await drivers.call_async(lambda: self.clear_session(session_id))

    def _recording(
        self, method: str, input: str | None, arguments: RunArguments[Any]
    ) -> tuple[RunRequest, AbstractContextManager[RunRecorder]]:
        """The request of a call, and the recording of its run, which begins when it is entered."""
        task_id = queue.current_task_id() or ""
        request = self._request(method, input, arguments, "task" if task_id else "user")
        recording = record_run(
            self._schema, agent_name=self.name, triggered_by=request.trigger, celery_task_id=task_id
        )
        return request, recording

    def _work(self, request: RunRequest, recording: AbstractContextManager[RunRecorder]) -> Work[LLMResponse[Any]]:
        with recording as recorder:
            return (yield from work_of(open_run(prepare(recorder, self.name, request))))

    def _streamed_work(self, request: RunRequest, recording: AbstractContextManager[RunRecorder]) -> Work[None]:
        with ExitStack() as stack:
            prepared = prepare(stack.enter_context(recording), self.name, request)
            work = streamed_work_of(prepared, stack.pop_all())
        yield from work

    def _resumed_work(self, waiting: WaitingRun) -> Work[LLMResponse[Any]]:
        with ExitStack() as stack:
            return (yield from work_of(waiting.resume(self._schema, self.name, stack)))

    def _resumed_stream(self, waiting: WaitingRun) -> Work[None]:
        with ExitStack() as stack:
            run = waiting.resume(self._schema, self.name, stack)
            work = resumed_stream_of(run, stack.pop_all())
        yield from work

    def _request(
        self, method: str, input: str | None, arguments: RunArguments[Any], default_trigger: Trigger
    ) -> RunRequest:
        return RunRequest.from_arguments(
            method, input, arguments, default_trigger=default_trigger, base_overrides=self._overrides
        )
