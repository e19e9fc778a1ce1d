"""What limits a provider, a model or an agent."""

from __future__ import annotations

from typing import Any

from django.db import models
from django.utils.translation import gettext_lazy as _

from .. import limits
from .validated import Ranges, ValidatedModel, within

BUDGET_RANGES: Ranges = {
    "monthly_budget_usd": (0, limits.MAX_BUDGET_USD),
    "budget_reset_day": (1, 31),
    "budget_alert_threshold": (1, 100),
}
RATE_RANGES: Ranges = {
    "rate_limit_rpm": (0, limits.MAX_PER_MINUTE),
    "rate_limit_tpm": (0, limits.MAX_PER_MINUTE),
}


class BudgetedModel(ValidatedModel):
    """A row that may have a budget for each month."""

    BUDGET_FIELDS = ("monthly_budget_usd", "budget_reset_day", "budget_alert_threshold")

    monthly_budget_usd = models.DecimalField(
        _("monthly budget (USD)"),
        max_digits=14,
        decimal_places=4,
        null=True,
        blank=True,
        validators=within(*BUDGET_RANGES["monthly_budget_usd"]),
        help_text=_("Empty: no limit. 0: nothing may be spent."),
    )
    budget_reset_day = models.PositiveSmallIntegerField(
        _("month begins on day"),
        default=1,
        validators=within(*BUDGET_RANGES["budget_reset_day"]),
        help_text=_("In the tenant's time zone. A day that a month lacks is its last."),
    )
    budget_alert_threshold = models.PositiveSmallIntegerField(
        _("alert at percent of budget"),
        default=80,
        validators=within(*BUDGET_RANGES["budget_alert_threshold"]),
    )

    class Meta:
        abstract = True


def per_minute(verbose_name: Any) -> models.PositiveIntegerField[Any, Any]:
    """A field for a limit of so many a minute."""
    return models.PositiveIntegerField(
        verbose_name,
        null=True,
        blank=True,
        validators=within(1, limits.MAX_PER_MINUTE),
        help_text=_("Empty: no limit."),
    )
