"""What one call to a provider must reserve: an amount in two budget months, and shares of limits per minute.

``reserve_and_settle.reserve_round()`` reserves it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from ..exceptions import RateLimitExceeded
from ..models import Spend
from ..types import AgentSpec, Budget, Estimate, LLMUsage, ProviderSpec, RateLimits, Target
from . import months, rate_limits
from .rate_limits import RateLimitShare

Owner = Spend.Owner


@dataclass(frozen=True, slots=True)
class BudgetMonth:
    """The current month of a provider's or an agent's budget."""

    owner: Owner
    owner_id: int
    name: str
    budget: Budget
    month_start: date
    xmin: str | None = None
    """The version of the owner's row that the budget was read from."""

    @property
    def alert_at_usd(self) -> Decimal | None:
        """The spending at which to send the alert; None without a budget or with a budget of 0."""
        limit = self.budget.limit_usd
        return limit * self.budget.alert_percent / 100 if limit else None


@dataclass(frozen=True, slots=True)
class Reservation:
    """What one call must reserve before it is sent."""

    provider: BudgetMonth
    agent: BudgetMonth | None
    """None for a run without an agent."""
    shares: tuple[RateLimitShare, ...]
    usd: Decimal
    is_priced: bool
    """Whether the price of the model is known. If not, ``usd`` is 0."""

    @property
    def budget_months(self) -> tuple[BudgetMonth, ...]:
        return (self.provider,) if self.agent is None else (self.provider, self.agent)

    def month_of(self, owner: Owner) -> BudgetMonth:
        return next(month for month in self.budget_months if month.owner == owner)

    def adjustments(self, usage: LLMUsage) -> dict[str, float]:
        """The seconds to add to each token limit, by its key, once the real usage is known."""
        tokens = usage.input_tokens + usage.output_tokens
        return {
            share.key: tokens * 60 / share.per_minute - share.share_s
            for share in self.shares
            if share.counts_tokens
        }


def reservation_for(schema: str, agent: AgentSpec | None, target: Target, estimate: Estimate) -> Reservation:
    """What the call to ``target`` must reserve. Raises RateLimitExceeded for a limit of 0."""
    provider = target.provider
    shares = [*_shares(f"provider:{provider.id}", f"Provider {provider.name!r}", provider.rates, estimate)]
    model = provider.find_model(target.model)
    if model is not None:
        name = f"Model {target.model!r} of provider {provider.name!r}"
        shares += _shares(f"model:{provider.id}:{target.model}", name, model.rates, estimate)
    return Reservation(
        provider=_budget_month(Owner.PROVIDER, provider, schema),
        agent=None if agent is None else _budget_month(Owner.AGENT, agent, schema),
        shares=tuple(shares),
        usd=estimate.cost_usd or Decimal(0),
        is_priced=estimate.cost_usd is not None,
    )


def _budget_month(owner: Owner, spec: ProviderSpec | AgentSpec, schema: str) -> BudgetMonth:
    month_start = months.current_month_start(spec.budget, schema)
    return BudgetMonth(owner, spec.id, spec.name, spec.budget, month_start, spec.xmin)


def _shares(key: str, name: str, rates: RateLimits, estimate: Estimate) -> Iterator[RateLimitShare]:
    for unit, per_minute, amount in (("requests", rates.requests, 1), ("tokens", rates.tokens, estimate.tokens)):
        if per_minute is None:
            continue
        description = f"{name} has a limit of {per_minute} {unit} per minute"
        if per_minute == 0:
            raise RateLimitExceeded(
                f"{description}, so no request is sent. Raise the limit to use it.",
                is_retryable=False,
                is_own_limit=True,
            )
        share_s = rate_limits.share_s(amount, per_minute)
        yield RateLimitShare(f"{key}:{unit}", description, per_minute, share_s, counts_tokens=unit == "tokens")
