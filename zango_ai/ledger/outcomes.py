"""How a run ends: what that is called, and what a call that brought no answer is taken to have cost."""

from __future__ import annotations

from ..exceptions import BudgetExceeded, LLMTimeoutError, LogUnavailable, RateLimitExceeded, ZangoAIError
from ..models import Invocation
from . import reservations, rounds

Status = Invocation.Status


def status_of(exc: BaseException) -> str:
    """The status of a run that ended with ``exc``."""
    if isinstance(exc, LLMTimeoutError):
        return Status.TIMEOUT.value
    if isinstance(exc, RateLimitExceeded):
        return Status.RATE_LIMITED.value
    if isinstance(exc, BudgetExceeded):
        return Status.BUDGET_EXCEEDED.value
    return Status.FAILED.value if isinstance(exc, Exception) else Status.CANCELLED.value


def may_be_billed(exc: BaseException) -> bool:
    """Whether the provider may have worked on what it did not deliver: then the cost is not known, and not 0."""
    return exc.may_be_billed if isinstance(exc, ZangoAIError) else True


def refusal(reservation: reservations.Reservation, begun: rounds.Begun) -> ZangoAIError:
    """The error for a reservation that was not granted."""
    if begun.disabled is not None:
        return reservations.disabled(reservation.account_of(begun.disabled))
    if begun.over is not None:
        assert begun.limit_usd is not None
        assert begun.spent_usd is not None
        assert begun.held_usd is not None
        account = reservation.account_of(begun.over)
        return reservations.over_budget(account, reservation, begun.limit_usd, begun.spent_usd, begun.held_usd)
    assert begun.wait_s is not None
    return reservations.too_fast(reservation, begun.busiest, begun.wait_s)


def unavailable(what: str, exc: Exception) -> LogUnavailable:
    """The error for a database that does not do what has to be done before anything is sent."""
    return LogUnavailable(
        f"{what} ({type(exc).__name__}), so nothing was sent. Check that PostgreSQL takes another connection, that "
        "nobody has locked the ledger's tables, and that the tenant is migrated and committed."
    )
