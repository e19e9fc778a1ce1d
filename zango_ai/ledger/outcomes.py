"""The outcome of a run or a call: its status for an exception, and the errors of a refused reservation."""

from __future__ import annotations

import math

from ..exceptions import (
    AgentDisabled,
    BudgetExceeded,
    LLMTimeoutError,
    LogUnavailable,
    ProviderDisabled,
    RateLimitExceeded,
    RunCancelled,
    ZangoAIError,
)
from ..models import Invocation
from . import months
from .money import format_usd
from .reservation_amounts import BudgetMonth, Owner, Reservation
from .reserve_and_settle import Decision

Status = Invocation.Status


def status_of(exc: BaseException) -> Status:
    """The status of a run or round that ended with ``exc``."""
    if isinstance(exc, LLMTimeoutError):
        return Status.TIMEOUT
    if isinstance(exc, RateLimitExceeded):
        return Status.RATE_LIMITED
    if isinstance(exc, BudgetExceeded):
        return Status.BUDGET_EXCEEDED
    if isinstance(exc, RunCancelled):
        return Status.CANCELLED
    return Status.FAILED if isinstance(exc, Exception) else Status.CANCELLED


def may_be_billed(exc: BaseException) -> bool:
    """Whether the provider may bill a call that ended with ``exc``. If so, its cost is unknown, not 0."""
    return exc.may_be_billed if isinstance(exc, ZangoAIError) else True


def log_unavailable(what: str, exc: Exception) -> LogUnavailable:
    """The error to raise if the log cannot be written before a request is sent."""
    return LogUnavailable(
        f"{what} ({type(exc).__name__}), so nothing was sent. Check that PostgreSQL accepts another connection, "
        "that no other transaction locks the ledger's tables, and that the tenant is migrated and committed."
    )


def refusal(reservation: Reservation, decision: Decision) -> ZangoAIError:
    """The error for a reservation that was refused."""
    if decision.disabled_owner is not None:
        return _disabled(reservation.month_of(decision.disabled_owner))
    if decision.exceeded_owner is not None:
        return _over_budget(reservation.month_of(decision.exceeded_owner), reservation, decision)
    return _rate_limited(reservation, decision)


def _disabled(month: BudgetMonth) -> AgentDisabled | ProviderDisabled:
    error = ProviderDisabled if month.owner == Owner.PROVIDER else AgentDisabled
    return error(
        month.name,
        f"{month.owner.title()} {month.name!r} was disabled or deleted after the run started, so no further "
        "request is sent. Enable it in the admin.",
    )


def _over_budget(month: BudgetMonth, reservation: Reservation, decision: Decision) -> BudgetExceeded:
    assert decision.limit_usd is not None
    assert decision.spent_usd is not None
    assert decision.reserved_usd is not None
    resets_on = months.next_month_start(month.month_start, month.budget.reset_day)
    limit, spent, reserved = map(format_usd, (decision.limit_usd, decision.spent_usd, decision.reserved_usd))
    cost = f"may cost {format_usd(reservation.usd)}" if reservation.is_priced else "has no known price"
    advice = "Raise the budget."
    if decision.limit_usd:
        shorter = ", lower the agent's max_tokens" if reservation.is_priced else ""
        advice = f"Raise the budget{shorter}, or wait until {resets_on}."
    return BudgetExceeded(
        reservation.provider.name,
        decision.limit_usd,
        f"{month.owner.title()} {month.name!r} has a budget of {limit} for the month from {month.month_start}: "
        f"{spent} is spent, {reserved} is reserved by running calls, and this call {cost}. {advice}",
        agent_name=month.name if month.owner == Owner.AGENT else None,
    )


def _rate_limited(reservation: Reservation, decision: Decision) -> RateLimitExceeded:
    assert decision.wait_s is not None
    exceeded = (share.description for share in reservation.shares if share.key == decision.exceeded_limit)
    seconds = math.ceil(decision.wait_s * 1000) / 1000
    return RateLimitExceeded(
        f"{next(exceeded)}, and it is used up. Try again in {seconds:g} s, or raise the limit.",
        retry_after_seconds=seconds,
        is_own_limit=True,
    )
