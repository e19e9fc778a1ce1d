"""Set the spend of a budget month back to zero, for example after a budget was used up by a mistake."""

from __future__ import annotations

from decimal import Decimal

from django.db import transaction
from django.db.models import F

from ..models import Spend
from ..types import Budget
from . import months


def reset(owner: str, owner_id: int, budget: Budget, schema: str) -> Decimal:
    """Write off what the provider or agent has spent in its current budget month, and return the amount.

    Reservations stay, and so do the costs in the log. The alert can be sent again. ``schema`` must be active.
    """
    month = months.current_month_start(budget, schema)
    rows = Spend.objects.filter(owner=owner, owner_id=owner_id, month_start=month)
    with transaction.atomic():
        spent = rows.select_for_update().values_list("spent_usd", flat=True).first() or Decimal(0)
        rows.update(
            spent_usd=F("spent_usd") - spent,
            written_off_usd=F("written_off_usd") + spent,
            alerted_at=None,
            alerted_by="",
        )
    return spent
