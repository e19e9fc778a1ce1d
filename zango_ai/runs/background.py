"""Background runs, as any process sees them: status and response."""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncGenerator, Callable, Generator
from typing import Any, Generic
from uuid import UUID

from django.core.exceptions import ImproperlyConfigured
from django.db import Error, transaction

from .. import argument_checks, sanitize, tenancy
from ..exceptions import QueueUnavailable, RunNotFound
from ..ledger import cancellation, stored_runs
from ..output.output_type import OutputType
from ..types import LLMResponse, LLMStreamChunk
from ..types.responses import OutputTypeArgument, Parsed, Parsed_co
from . import queue, stored_stream, substitution
from .stored_response import response_of

logger = logging.getLogger("zango_ai.agent")

Status = stored_runs.Status
_GiveUp = Callable[[UUID, str, str], int | None]
"""What becomes of a run whose task the queue does not accept. Returns its primary key."""
_FIRST_POLL_S, _MAX_POLL_S = 0.02, 0.5


def get_run(run_id: UUID | str, *, output_type: OutputTypeArgument[Parsed] = None) -> EnqueuedRun[Parsed]:
    """The run of that id in the current tenant. Pass ``output_type`` again if ``enqueue()`` had it: without it,
    ``parsed_content`` is plain JSON.

    Raises RunNotFound; TypeError or OutputSchemaInvalid for a wrong ``output_type``.
    """
    require_run_id(run_id)
    converted = None if output_type is None else OutputType(output_type)
    schema = tenancy.current_schema()
    key = uuid_of(run_id)
    if tenancy.is_public(schema):
        raise RunNotFound(
            run_id, f"No tenant is active, so there is no run {run_id}. {tenancy.advice_without_tenant()}"
        )
    with tenancy.needs_tables(schema):
        if key is None or stored_runs.status_of(schema, key) is None:
            raise _not_found(run_id, schema)
    return EnqueuedRun(key, schema, converted)


def row_of(run_id: UUID | str, schema: str) -> stored_runs.RunRow:
    """The row of a tenant's run. Raises RunNotFound."""
    key = uuid_of(run_id)
    row = None if key is None else stored_runs.find(schema, key)
    if row is None:
        raise _not_found(run_id, schema)
    return row


class EnqueuedRun(Generic[Parsed_co]):
    """A background run. It stays valid when another tenant is active."""

    def __init__(self, run_id: UUID, schema: str, output_type: OutputType | None = None) -> None:
        self.run_id = run_id
        self._schema, self._output_type = schema, output_type

    def __repr__(self) -> str:
        return f"<EnqueuedRun {self.run_id} of {self._schema!r}>"

    @property
    def status(self) -> str:
        """The current status: ``queued``, ``running``, ``success``, ... Raises RunNotFound."""
        status = stored_runs.status_of(self._schema, self.run_id)
        if status is None:
            raise _not_found(self.run_id, self._schema)
        return status

    @property
    def is_finished(self) -> bool:
        """Whether the run has ended or waits for an approval."""
        return self.status in stored_runs.STOPPED

    def wait(self, timeout: float | None = None) -> str:
        """Wait until the run is finished, and return its status. Raises TimeoutError after ``timeout`` seconds.

        Do not call it in the transaction that queued the run: the task is sent when that commits.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        pause_s = _FIRST_POLL_S
        while (status := self.status) not in stored_runs.STOPPED:
            left_s = None if deadline is None else deadline - time.monotonic()
            if left_s is not None and left_s <= 0:
                raise TimeoutError(f"Run {self.run_id} is {status} after {timeout} s.{self._advice(status)}")
            time.sleep(pause_s if left_s is None else min(pause_s, left_s))
            pause_s = min(pause_s * 1.5, _MAX_POLL_S)
        return status

    def cancel(self) -> bool:
        """Stop the run. True if it ends as ``cancelled``; False if it had finished before.

        A run that is queued, waits for its next attempt, or waits for an approval ends at once. A running one stops
        at its next step: before it calls the provider or a tool. A worker that executes a run of
        ``enqueue(stream=True)`` also stops in the middle of an answer, within two seconds. What the provider has
        produced is billed. Any other call that is in progress is not interrupted, but its answer is discarded.
        ``run()`` raises RunCancelled.

        Raises RunNotFound.
        """
        if cancellation.cancel(self._schema, self.run_id):
            return True
        if stored_runs.status_of(self._schema, self.run_id) is None:
            raise _not_found(self.run_id, self._schema)
        return False

    def stream(self, after: int = 0) -> Generator[LLMStreamChunk[Parsed_co], None, None]:
        """Yield the chunks of a run that was queued with ``enqueue(stream=True)``, while it works or afterwards.

        ``after`` is the number of the last chunk that was read; the stream continues with the next one. The last
        chunk has the type ``final`` and the ``response``. If the run waits for an approval, the stream ends too.
        Once the run is resumed, another call with ``after`` continues it.

        Any number of readers in any processes get the same chunks. Closing a stream does not change the run. A run
        that was not queued with ``stream=True``, or whose chunks have been deleted, has two chunks once it has
        ended: its text is number 1, and ``final`` is number 2.

        Raises RunFailed, RunCancelled or RunNotFound, where the chunks end.
        """
        return stored_stream.read_stream(self._reader(after))

    def astream(self, after: int = 0) -> AsyncGenerator[LLMStreamChunk[Parsed_co], None]:
        """Like ``stream()``, in an event loop. It needs no thread of its own."""
        return stored_stream.aread_stream(self._reader(after))

    def _reader(self, after: int) -> stored_stream.StreamReader:
        return stored_stream.StreamReader(self._schema, self.run_id, after, self.response)

    def _advice(self, status: str) -> str:
        """Why the run may still have that status, and what to do."""
        if status != Status.QUEUED:
            return ""
        if stored_runs.has_started(self._schema, self.run_id):
            return " Its last attempt failed with a transient error; a worker retries it later."
        if tenancy.connection().in_atomic_block:
            return " Its task may not have been sent: that happens when the transaction that queued it commits."
        return f" No worker has taken it. {queue.configured().advice_if_waiting}"

    def response(self) -> LLMResponse[Parsed_co]:
        """The response that ``run()`` would have returned.

        Raises RunNotFinished; RunFailed if the run ended with an error, RunCancelled if it was cancelled. With an
        ``output_type``: OutputValidationError or OutputParseError if the stored answer is not of that type.
        """
        return response_of(row_of(self.run_id, self._schema), self._output_type)


def send(run_id: UUID, schema: str, output_type: OutputType | None = None) -> EnqueuedRun[Any]:
    """Send a queued run's task when the caller's transaction commits; at once if there is no transaction.

    If the queue does not accept the task, the run fails. If it is sent at once, raises QueueUnavailable then.
    """
    return _send_on_commit(run_id, schema, _fail, output_type)


def send_decided(run_id: UUID, schema: str) -> EnqueuedRun:
    """The same for a run whose tool calls were decided. It waits for a decision again if it cannot be sent."""
    return _send_on_commit(
        run_id, schema, lambda run_id, schema, _: stored_runs.await_approval_again(schema, run_id)
    )


def _send_on_commit(
    run_id: UUID, schema: str, give_up: _GiveUp, output_type: OutputType | None = None
) -> EnqueuedRun[Any]:
    connection = tenancy.connection()
    if connection.in_atomic_block:
        transaction.on_commit(lambda: _send_and_log_errors(run_id, schema, give_up), using=connection.alias)
    else:
        _send(run_id, schema, give_up)
    return EnqueuedRun(run_id, schema, output_type)


def _fail(run_id: UUID, schema: str, message: str) -> int | None:
    return stored_runs.fail_queued(schema, run_id, error_type="QueueUnavailable", message=message)


def _send(run_id: UUID, schema: str, give_up: _GiveUp) -> None:
    if substitution.holds_queue():
        return
    try:
        task_id = queue.send(run_id, schema)
    except Exception as exc:
        message = _why_not_sent(run_id, exc)
        error = QueueUnavailable(run_id, message)
        error.invocation_id = give_up(run_id, schema, message)
        raise error from exc
    try:
        if not stored_runs.note_sent(schema, run_id, task_id):
            logger.warning("Run %s of schema %s was given up before its task could be sent", run_id, schema)
    except Error:  # a worker executes the run anyway
        logger.exception("Could not note that run %s of schema %s was sent", run_id, schema)


def _why_not_sent(run_id: UUID, exc: Exception) -> str:
    if isinstance(exc, ImproperlyConfigured):
        return f"Run {run_id} could not be queued. {sanitize.shown(exc, 1000)}"
    used = queue.configured()
    error = f"{type(exc).__name__}: {sanitize.shown(exc, 500)}"
    return f"{used.name} did not accept run {run_id} ({error}). {used.advice_if_refused}"


def fail_unretried(run_id: str, schema: str, exc: Exception) -> None:
    """Fail a run that should be retried, but whose task the queue did not accept: nobody else would end it."""
    message = (
        f"The run should be retried, but {queue.configured().name.lower()} did not accept the task "
        f"({type(exc).__name__})."
    )
    stored_runs.fail_queued(schema, UUID(run_id), error_type="QueueUnavailable", message=message)


def _send_and_log_errors(run_id: UUID, schema: str, give_up: _GiveUp) -> None:
    """After a commit, nobody could handle an exception. The run's row shows the error."""
    try:
        _send(run_id, schema, give_up)
    except Exception:
        logger.exception("Run %s of schema %s could not be sent", run_id, schema)


def _not_found(run_id: object, schema: str) -> RunNotFound:
    reason = " A run belongs to one tenant." if tenancy.has_tenants() else ""
    return RunNotFound(run_id, f"There is no run {run_id} in schema {schema!r}.{reason}")


def require_run_id(run_id: object) -> None:
    """Raise TypeError unless ``run_id`` is a UUID or a str."""
    argument_checks.require(run_id, (UUID, str), "run_id", "a UUID or its text")


def uuid_of(run_id: object) -> UUID | None:
    """None if the text is not a UUID."""
    try:
        return run_id if isinstance(run_id, UUID) else UUID(str(run_id))
    except ValueError:
        return None
