"""Fields that limit spend and rates, shared by agents, providers and models."""

from __future__ import annotations

from typing import Any

from django.core.validators import MinValueValidator
from django.db import models
from django.utils.translation import gettext_lazy as _

from .. import limits
from .validated import Ranges, ValidatedModel

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
    """A model with an optional monthly budget."""

    BUDGET_FIELDS = ("monthly_budget_usd", "budget_reset_day", "budget_alert_threshold")

    monthly_budget_usd = models.DecimalField(
        _("monthly budget (USD)"),
        max_digits=14,
        decimal_places=4,
        null=True,
        blank=True,
        help_text=_(
            "Calls that could exceed this amount are refused. Leave empty for no limit. 0 allows no spending."
        ),
    )
    budget_reset_day = models.PositiveSmallIntegerField(
        _("budget reset day"),
        default=1,
        help_text=_(
            "Day of the month on which the budget resets, in the tenant's time zone. In shorter months: the last "
            "day. Default: 1."
        ),
    )
    budget_alert_threshold = models.PositiveSmallIntegerField(
        _("budget alert (percent)"),
        default=80,
        help_text=_("Your application is alerted when spend reaches this percentage of the budget. Default: 80."),
    )

    class Meta:
        abstract = True


def rate_limit_field(verbose_name: Any) -> models.PositiveIntegerField[Any, Any]:
    """A field for a limit per minute, at least 1 when set."""
    return models.PositiveIntegerField(
        verbose_name,
        null=True,
        blank=True,
        validators=[MinValueValidator(1)],
        help_text=_("Leave empty for no limit."),
    )
