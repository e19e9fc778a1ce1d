"""Tell the application that a budget is running out."""

from __future__ import annotations

from .. import signals, tenancy
from ..models import AgentConfig, Provider
from .reservations import Reservation
from .rounds import Crossing

_SENDERS = {"provider": Provider, "agent": AgentConfig}


def send(schema: str, reservation: Reservation, crossing: Crossing) -> None:
    """Send ``budget_threshold_crossed``. Django logs what a receiver raises."""
    account = reservation.provider if crossing.owner == "provider" else reservation.agent
    with tenancy.active(schema):  # something in the run may have switched it
        signals.budget_threshold_crossed.send_robust(
            sender=_SENDERS[account.owner],
            schema=schema,
            provider_name=reservation.provider.name,
            agent_name=reservation.agent.name if account.owner == "agent" else None,
            budget_limit=account.budget.limit_usd,
            spent_usd=crossing.spent_usd,
            percent=account.budget.alert_percent,
            month_start=account.month_start,
        )
