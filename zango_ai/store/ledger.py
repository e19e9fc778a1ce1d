"""The log of runs: a row for every run, a row for every call to a provider, and their sums.

::

    with ledger.record(schema, agent_name=..., ...) as entry:   # nothing written yet
        entry.note(...)                                         # what is learned before the call
        entry.open()                                            # the row is there, as "running"
        entry.begin_round(...), entry.settle_round(...)         # once for each call to the provider
        entry.succeed(...)

Whatever is raised inside the block is put on the row, gets its ``invocation_id``, and goes on. The rows are
written on the ledger's own connection (see ``own_connection``); callers' values cannot break them (see
``recordable``).
"""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from decimal import Decimal
from typing import Any

from django.db import DatabaseError
from django.utils import timezone

from .. import recordable
from ..exceptions import (
    BudgetExceeded,
    LLMAPIError,
    LLMTimeoutError,
    LogUnavailable,
    RateLimitExceeded,
    ZangoAIError,
)
from ..models import Invocation, InvocationRound
from ..types import AgentSpec, LLMMessage, LLMUsage, ModelAnswer, Target
from . import writer

logger = logging.getLogger("zango_ai.ledger")

Status = Invocation.Status
_MAX_ERROR_CHARS = 4_000


class Entry:
    """One run on its way into the log."""

    def __init__(self, schema: str, columns: dict[str, Any]) -> None:
        self.schema = schema
        self.run_id = uuid.uuid4()
        self.invocation_id: int | None = None
        self.status: str = Status.RUNNING
        self.usage = LLMUsage()
        self.cost_usd: Decimal | None = Decimal(0)
        """None as soon as one round's cost is not known."""
        self.rounds_count = 0
        self.latency_ms = 0
        """Wall clock of the whole run, once it is settled."""
        self._columns = columns
        self._started = time.monotonic()
        self._started_at = timezone.now()
        self._round_id: int | None = None
        self._round_started = 0.0

    def note(self, **columns: Any) -> None:
        """Columns of the invocation that have become known; written with the next statement."""
        self._columns.update(columns)

    def note_caller(
        self,
        user_ref: object,
        variables: Mapping[str, Any] | None,
        system_variables: Mapping[str, Any] | None,
    ) -> None:
        """Note what the caller passed; any value will do."""
        self.note(user_ref="" if user_ref is None else recordable.shown(user_ref))
        for name, values in (("variables", variables), ("system_variables", system_variables)):
            if values is not None:
                self.note(**{name: _json(values)})

    def note_texts(self, system_text: str, user_text: str) -> None:
        """Note the prompts as they are sent."""
        self.note(
            rendered_system_prompt=recordable.text(system_text), rendered_user_prompt=recordable.text(user_text)
        )

    def note_answer(self, content: str) -> None:
        """Note what the model said, before it is known whether that will do."""
        self.note(response_content=recordable.text(content))

    def describe(self, agent: AgentSpec) -> None:
        """Note which agent, provider and prompts the run uses."""
        self.note(
            agent_id=agent.id,
            provider_id=agent.provider.id,
            provider_name=agent.provider.name,
            model=agent.model,
        )
        for role, prompt in (("system", agent.system_prompt), ("user", agent.user_prompt)):
            if prompt is not None:
                self.note(**{f"{role}_prompt_name": prompt.name, f"{role}_prompt_version": prompt.version})

    def open(self) -> None:
        """Write the row as ``running``, before anything is sent. Raises LogUnavailable."""
        try:
            self._write(status=Status.RUNNING)
        except DatabaseError as exc:
            raise LogUnavailable(
                f"The log of schema {self.schema!r} cannot be written ({type(exc).__name__}), so nothing was sent. "
                "Check that PostgreSQL takes another connection, and that the tenant is migrated and committed."
            ) from exc

    def begin_round(self, number: int, target: Target, messages: Sequence[LLMMessage]) -> None:
        """Write the round's row as ``running``; the run is at ``target`` now."""
        self.note(provider_id=target.provider.id, provider_name=target.provider.name, model=target.model)
        now = timezone.now()
        self._round_started = time.monotonic()
        self._round_id = writer.insert(
            self.schema,
            InvocationRound,
            {
                "invocation_id": self.invocation_id,
                "number": number,
                "provider_name": target.provider.name,
                "model": target.model,
                "status": Status.RUNNING.value,
                "request_messages": _json([{"role": m.role, "content": m.content} for m in messages]),
                "created_at": now,
                "updated_at": now,
            },
            unique=["invocation_id", "number"],
        )
        self.rounds_count += 1

    def settle_round(self, answer: ModelAnswer) -> None:
        """The provider has answered: what it said and what it cost."""
        self.usage += answer.usage
        if answer.cost_usd is None or self.cost_usd is None:
            self.cost_usd = None
        else:
            self.cost_usd += answer.cost_usd
        self._end_round(
            status=Status.SUCCESS.value,
            stop_reason=answer.stop_reason,
            request_params=_json(answer.request_params),
            response_content=recordable.text(answer.content),
            cost_usd=answer.cost_usd,
            **_tokens(answer.usage),
        )

    def fail_round(self, exc: BaseException, words: str) -> None:
        """The provider has not answered. ``words`` are its own, for staff to read."""
        cost = None if _may_be_billed(exc) else Decimal(0)
        if cost is None:
            self.cost_usd = None
        self._end_round(
            status=status_of(exc),
            error_type=type(exc).__name__,
            error_message=recordable.text(words, _MAX_ERROR_CHARS),
            request_params=_json(getattr(exc, "request_params", {})),
            cost_usd=cost,
        )

    def _end_round(self, **columns: Any) -> None:
        round_id, self._round_id = self._round_id, None
        if round_id is None:
            return
        columns.update(latency_ms=_milliseconds_since(self._round_started), updated_at=timezone.now())
        try:
            writer.update(self.schema, InvocationRound, round_id, columns)
        except Exception:
            # The call has been made and may have been paid for: its answer goes on to the caller.
            logger.exception("Could not settle round %s of run %s in %s", round_id, self.run_id, self.schema)

    def succeed(self) -> None:
        self._settle(Status.SUCCESS)

    def fail(self, exc: BaseException) -> None:
        """Put ``exc`` on the row, and the row's id on ``exc``."""
        if self._round_id is not None:
            self.fail_round(exc, str(exc))
        self.note(error_type=type(exc).__name__[:200], error_message=recordable.shown(exc, _MAX_ERROR_CHARS))
        self._settle(status_of(exc))
        with suppress(AttributeError):  # an exception with slots cannot carry it
            exc.invocation_id = self.invocation_id  # type: ignore[attr-defined]

    def _settle(self, status: str) -> None:
        self.latency_ms = _milliseconds_since(self._started)
        try:
            self._write(
                status=status,
                latency_ms=self.latency_ms,
                finished_at=timezone.now(),
                rounds_count=self.rounds_count,
                cost_usd=self.cost_usd,
                **_tokens(self.usage),
            )
        except Exception:
            logger.exception("Could not write the end of run %s in %s", self.run_id, self.schema)

    def _write(self, *, status: str, **columns: Any) -> None:
        now = timezone.now()
        self.status = str(status)
        values = {**self._columns, **columns, "status": self.status, "updated_at": now}
        if self.invocation_id is not None:
            writer.update(self.schema, Invocation, self.invocation_id, values)
        else:
            values |= {"run_id": self.run_id, "created_at": now, "started_at": self._started_at}
            self.invocation_id = writer.insert(self.schema, Invocation, values, unique=["run_id"])
        self._columns = {}


@contextmanager
def record(schema: str, **columns: Any) -> Iterator[Entry]:
    """Record a run of ``schema``; ``columns`` are those of the invocation that are known at the start."""
    entry = Entry(
        schema,
        {name: recordable.text(value, 255) if isinstance(value, str) else value for name, value in columns.items()},
    )
    try:
        yield entry
    except BaseException as exc:
        entry.fail(exc)
        raise


def status_of(exc: BaseException) -> str:
    """The status of a run that ended with ``exc``."""
    if isinstance(exc, LLMTimeoutError):
        return Status.TIMEOUT.value
    if isinstance(exc, RateLimitExceeded):
        return Status.RATE_LIMITED.value
    if isinstance(exc, BudgetExceeded):
        return Status.BUDGET_EXCEEDED.value
    return Status.FAILED.value if isinstance(exc, Exception) else Status.CANCELLED.value


def _may_be_billed(exc: BaseException) -> bool:
    """Whether the provider may have worked on what it did not deliver: then the cost is not known, and not 0."""
    if isinstance(exc, LLMAPIError):
        return exc.status_code is not None and exc.status_code < 300
    return isinstance(exc, LLMTimeoutError) or not isinstance(exc, ZangoAIError)


def _tokens(usage: LLMUsage) -> dict[str, int]:
    return {
        "input_tokens": usage.input_tokens,
        "output_tokens": usage.output_tokens,
        "cache_creation_tokens": usage.cache_creation_tokens,
        "cache_read_tokens": usage.cache_read_tokens,
    }


def _milliseconds_since(start: float) -> int:
    return round((time.monotonic() - start) * 1000)


def _json(value: Any) -> writer.Json:
    return writer.Json(recordable.document(value))
