"""What limits a provider, a model or an agent."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.utils.translation import gettext_lazy as _

from .stamped import Stamped


class Budgeted(Stamped):
    """A row that may have a budget for each month."""

    BUDGET_FIELDS = ("monthly_budget_usd", "budget_reset_day", "budget_alert_threshold")

    monthly_budget_usd = models.DecimalField(
        _("monthly budget (USD)"),
        max_digits=14,
        decimal_places=4,
        null=True,
        blank=True,
        validators=[MinValueValidator(Decimal(0))],
        help_text=_("Empty: no limit. 0: nothing may be spent."),
    )
    budget_reset_day = models.PositiveSmallIntegerField(
        _("month begins on day"),
        default=1,
        validators=[MinValueValidator(1), MaxValueValidator(31)],
        help_text=_("In the tenant's time zone. A day that a month lacks is its last."),
    )
    budget_alert_threshold = models.PositiveSmallIntegerField(
        _("alert at percent of budget"),
        default=80,
        validators=[MinValueValidator(1), MaxValueValidator(100)],
    )

    class Meta:
        abstract = True
        constraints = [
            models.CheckConstraint(
                condition=models.Q(monthly_budget_usd__gte=0) | models.Q(monthly_budget_usd=None),
                name="%(app_label)s_%(class)s_budget",
            ),
            models.CheckConstraint(
                condition=models.Q(budget_reset_day__range=(1, 31)), name="%(app_label)s_%(class)s_reset_day"
            ),
        ]


def per_minute(verbose_name: Any) -> models.PositiveIntegerField[Any, Any]:
    """A field for a limit of so many a minute."""
    return models.PositiveIntegerField(
        verbose_name,
        null=True,
        blank=True,
        validators=[MinValueValidator(1)],
        help_text=_("Empty: no limit."),
    )
