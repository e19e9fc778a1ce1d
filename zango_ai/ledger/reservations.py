"""What has to be free before a call to a provider, and what is said where it is not."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Literal

from ..exceptions import AgentDisabled, BudgetExceeded, ProviderDisabled, RateLimitExceeded
from ..types import AgentSpec, Budget, Estimate, LLMUsage, ProviderSpec, RateLimits, Target
from . import months, rate_limits
from .money import format_usd

Owner = Literal["provider", "agent"]


@dataclass(frozen=True, slots=True)
class Account:
    """A month of a budget."""

    owner: Owner
    owner_id: int
    name: str
    budget: Budget
    month_start: date
    xmin: str | None = None
    """The version of the owner's row that the budget was read from."""

    @property
    def alert_at_usd(self) -> Decimal | None:
        limit = self.budget.limit_usd
        return limit * self.budget.alert_percent / 100 if limit else None


@dataclass(frozen=True, slots=True)
class Toll:
    """What a call takes of one limit per minute."""

    key: str
    what: str
    """Whose limit, and of what."""
    per_minute: int
    taken_s: float
    """So many seconds of the minute's allowance."""
    is_of_tokens: bool


@dataclass(frozen=True, slots=True)
class Reservation:
    """What has to be free before a call."""

    provider: Account
    agent: Account
    tolls: tuple[Toll, ...]
    usd: Decimal
    is_priced: bool

    def account_of(self, owner: Owner) -> Account:
        return self.provider if owner == "provider" else self.agent

    def moves(self, usage: LLMUsage) -> dict[str, float]:
        """By how many seconds to move each limit of tokens when the call has used ``usage``; negative: back."""
        used = usage.input_tokens + usage.output_tokens
        return {toll.key: used * 60 / toll.per_minute - toll.taken_s for toll in self.tolls if toll.is_of_tokens}


def reserve(agent: AgentSpec, target: Target, estimate: Estimate) -> Reservation:
    """What the call to ``target`` has to reserve. Raises RateLimitExceeded for a limit of 0."""
    provider = target.provider
    tolls = [*_tolls(f"provider:{provider.id}", f"Provider {provider.name!r}", provider.rates, estimate)]
    model = provider.find_model(target.model)
    if model is not None:
        whose = f"Model {target.model!r} of provider {provider.name!r}"
        tolls += _tolls(f"model:{provider.id}:{target.model}", whose, model.rates, estimate)
    return Reservation(
        provider=_account("provider", provider, agent.schema),
        agent=_account("agent", agent, agent.schema),
        tolls=tuple(tolls),
        usd=estimate.cost_usd or Decimal(0),
        is_priced=estimate.cost_usd is not None,
    )


def _account(owner: Owner, row: ProviderSpec | AgentSpec, schema: str) -> Account:
    return Account(owner, row.id, row.name, row.budget, months.current_month_start(row.budget, schema), row.xmin)


def _tolls(key: str, whose: str, rates: RateLimits, estimate: Estimate) -> Iterator[Toll]:
    for unit, per_minute, amount in (("requests", rates.requests, 1), ("tokens", rates.tokens, estimate.tokens)):
        if per_minute is None:
            continue
        what = f"{whose} has a limit of {per_minute} {unit} a minute"
        if per_minute == 0:
            raise RateLimitExceeded(f"{what}, so nothing is sent.", is_retryable=False, is_own_limit=True)
        taken_s = rate_limits.share_s(amount, per_minute)
        yield Toll(f"{key}:{unit}", what, per_minute, taken_s, is_of_tokens=unit == "tokens")


def disabled(account: Account) -> AgentDisabled | ProviderDisabled:
    """The error for an agent or a provider that was switched off during the run."""
    error = ProviderDisabled if account.owner == "provider" else AgentDisabled
    return error(
        account.name,
        f"{account.owner.title()} {account.name!r} was disabled or deleted after the run began, so no further call "
        "is made. Enable it in the admin.",
    )


def over_budget(
    account: Account, reservation: Reservation, limit_usd: Decimal, spent: Decimal, held: Decimal
) -> BudgetExceeded:
    """The error for a budget that does not allow the call. ``limit_usd`` is the budget as it is now."""
    ends = months.next_month_start(account.month_start, account.budget.reset_day)
    limit, is_spent, is_held = map(format_usd, (limit_usd, spent, held))
    costs = f"may cost {format_usd(reservation.usd)}" if reservation.is_priced else "has no known price"
    return BudgetExceeded(
        reservation.provider.name,
        limit_usd,
        f"{account.owner.title()} {account.name!r} has a budget of {limit} for the month from "
        f"{account.month_start}: {is_spent} is spent, {is_held} is held by calls under way, and this call {costs}. "
        f"Raise the budget, lower the agent's max_tokens, or wait until {ends}.",
        agent_name=account.name if account.owner == "agent" else None,
    )


def too_fast(reservation: Reservation, busiest: str | None, wait_s: float) -> RateLimitExceeded:
    """The error for a limit per minute that does not allow the call yet."""
    what = next((toll.what for toll in reservation.tolls if toll.key == busiest), "A limit per minute is reached")
    seconds = math.ceil(wait_s * 1000) / 1000
    return RateLimitExceeded(
        f"{what}, and it is used up. Try again in {seconds:g} s, or raise the limit.",
        retry_after_seconds=seconds,
        is_own_limit=True,
    )
