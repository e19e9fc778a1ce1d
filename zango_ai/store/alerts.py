"""Tell the application that a budget is running out, and that a run is over."""

from __future__ import annotations

from uuid import UUID

from .. import signals, tenancy
from ..models import AgentConfig, Invocation, Provider
from .reservations import Reservation
from .rounds import Crossing

_SENDERS = {"provider": Provider, "agent": AgentConfig}


def tell_finished(schema: str, run_id: UUID, invocation_id: int | None, agent_name: str, status: str) -> None:
    """Send ``run_finished``. Django logs what a receiver raises."""
    if not signals.run_finished.has_listeners(Invocation):
        return
    with tenancy.active(schema):
        signals.run_finished.send_robust(
            sender=Invocation,
            schema=schema,
            run_id=run_id,
            invocation_id=invocation_id,
            agent_name=agent_name,
            status=status,
        )


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
