"""The columns of a run's row: what is known of the run, its totals, and what is not written yet."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from .. import redaction, sanitize
from ..types import AgentSpec, LLMUsage, ModelAnswer
from . import clock, reserve_and_settle
from .run_state import RunState

MAX_ERROR_CHARS = 4_000
TOKEN_COLUMNS = tuple(each.name for each in fields(LLMUsage))
"""The columns of token counts have the same names as the fields of ``LLMUsage``."""
SIGNALLED = frozenset({"agent_name", "triggered_by", "provider_name", "model", "error_type"})
"""Columns whose values the signals of a run have."""


def token_columns(usage: LLMUsage) -> dict[str, int]:
    """The token counts by column. ``dataclasses.asdict()`` takes ten times as long."""
    return {name: getattr(usage, name) for name in TOKEN_COLUMNS}


@dataclass(frozen=True, slots=True)
class RunTotals:
    """What a run has used so far, over all its rounds."""

    rounds_count: int = 0
    usage: LLMUsage = field(default_factory=LLMUsage)
    cost_usd: Decimal | None = Decimal(0)
    """None once the cost of one round is unknown."""

    def plus(self, usage: LLMUsage, cost_usd: Decimal | None) -> RunTotals:
        """With the usage of one more call. Its round is counted when its reservation is granted."""
        total_usd = None if cost_usd is None or self.cost_usd is None else self.cost_usd + cost_usd
        return RunTotals(self.rounds_count, self.usage + usage, total_usd)

    def columns(self, rounds_count: int | None = None) -> dict[str, Any]:
        return {
            "rounds_count": self.rounds_count if rounds_count is None else rounds_count,
            "cost_usd": self.cost_usd,
            **token_columns(self.usage),
        }


@dataclass(slots=True)
class RunColumns:
    """The row of one run. ``set()`` collects columns, and the next statement writes them."""

    schema: str
    run_id: UUID
    pending: dict[str, Any] = field(default_factory=dict)
    """Known and not written yet."""
    user_ref: str = ""
    invocation_id: int | None = None
    """The row's primary key; None until it is inserted."""
    started_at: datetime = field(default_factory=clock.now)
    is_complete: bool = False
    """Whether ``pending`` has everything that ends or pauses the run."""
    is_cancelled: bool = False
    """Whether somebody has cancelled the run, as far as the statements so far have told."""
    known: dict[str, str] = field(default_factory=dict)
    """What signals say of the run: ``SIGNALLED``, written or not."""

    def __post_init__(self) -> None:
        self._remember(self.pending)

    @property
    def is_new(self) -> bool:
        return self.invocation_id is None

    @property
    def has_session(self) -> bool:
        """Whether the run continues a conversation, as far as that is not written yet."""
        return self.pending.get("session_id") is not None

    def set(self, **columns: Any) -> None:
        self.pending.update(columns)
        self._remember(columns)

    def _remember(self, columns: Mapping[str, Any]) -> None:
        for name in SIGNALLED & columns.keys():
            self.known[name] = columns[name]

    def set_caller(
        self,
        user_ref: object,
        variables: Mapping[str, Any] | None,
        system_variables: Mapping[str, Any] | None,
    ) -> None:
        """What the caller has passed. Every value can be stored."""
        self.user_ref = "" if user_ref is None else sanitize.shown(user_ref)
        self.set(user_ref=self.user_ref)
        for name, values in (("variables", variables), ("system_variables", system_variables)):
            if values is not None:
                self.set(**{name: redaction.document(values)})

    def set_agent(self, agent: AgentSpec) -> None:
        """The agent, its provider and its prompts."""
        self.set(
            agent_id=agent.id,
            provider_id=agent.provider.id,
            provider_name=agent.provider.name,
            model=agent.model,
            timeout_seconds=agent.timeout_seconds,
        )
        for role, prompt in (("system", agent.system_prompt), ("user", agent.user_prompt)):
            if prompt is not None:
                self.set(**{f"{role}_prompt_name": prompt.name, f"{role}_prompt_version": prompt.version})

    def set_last_answer(self, answer: ModelAnswer) -> None:
        """The answer with which the run ends or pauses."""
        self.set(
            response_content=redaction.text(answer.content),
            stop_reason=answer.stop_reason,
            response_model=sanitize.text(answer.model, 200),
        )

    def set_error(self, exc: BaseException) -> None:
        self.set(error_type=type(exc).__name__[:200], error_message=redaction.shown(exc, MAX_ERROR_CHARS))

    def set_resume_state(self, state: RunState) -> None:
        """The state from which another process resumes the run. It is text, because jsonb rejects some texts."""
        self.set(resume_state=json.dumps(state.to_json()), claim=secrets.token_hex(12))

    def to_write(self, now: datetime, **columns: Any) -> dict[str, Any]:
        """The pending columns, ``columns``, and for a new row those that it starts with."""
        values = {**self.pending, **columns, "updated_at": now}
        if self.is_new:
            values |= {"run_id": self.run_id, "created_at": now}
            values.setdefault("started_at", self.started_at)
        return values

    def mark_written(self, invocation_id: int | None = None) -> None:
        if invocation_id is not None:
            self.invocation_id = invocation_id
        self.pending = {}

    def write(self, totals: Mapping[str, Any]) -> None:
        """Insert or update the row, unless nothing is pending."""
        if self.is_new or self.pending:
            values = self.to_write(clock.now(), **totals)
            invocation_id, is_cancelled = reserve_and_settle.write_run(
                self.schema, self.run_id, values, is_new=self.is_new
            )
            self.mark_written(invocation_id)
            self.is_cancelled = self.is_cancelled or is_cancelled
