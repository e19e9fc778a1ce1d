"""Counters of what is used. Like the log, only the ledger writes these tables, on its own connection."""

from __future__ import annotations

from django.db import models
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _

from .timestamps import TimestampedModel


class Spend(TimestampedModel):
    """What one provider or one agent has spent in one month of its budget."""

    class Owner(models.TextChoices):
        PROVIDER = "provider", _("Provider")
        AGENT = "agent", _("Agent")

    owner = models.CharField(_("of a"), max_length=10, choices=Owner)
    owner_id = models.BigIntegerField()
    owner_name = models.CharField(_("name"), max_length=100)
    """As it was at the month's first call."""
    month_start = models.DateField(_("month from"))
    spent_usd = models.DecimalField(_("spent (USD)"), max_digits=24, decimal_places=8, default=0, db_default=0)
    reserved_usd = models.DecimalField(
        _("reserved (USD)"), max_digits=24, decimal_places=8, default=0, db_default=0
    )
    """Held by the calls that are under way."""
    calls = models.PositiveIntegerField(_("calls"), default=0, db_default=0)
    """All calls of the month, also those whose rows have been deleted since."""
    unknown_calls = models.PositiveIntegerField(_("calls of unknown cost"), default=0, db_default=0)
    """OutcomeModel in ``spent_usd`` at their estimate where the model has a price, else not at all."""
    alerted_at = models.DateTimeField(_("alerted"), null=True)
    alerted_by = models.CharField(max_length=60, blank=True, default="", db_default="", editable=False)
    """The call that made the alert due: run and number of its round."""

    class Meta:
        verbose_name = _("spending")
        verbose_name_plural = _("spending")
        ordering = ["-month_start", "owner", "owner_name"]
        constraints = [
            models.UniqueConstraint(fields=["owner", "owner_id", "month_start"], name="zango_ai_spend_once")
        ]

    def __str__(self) -> str:
        return f"{self.owner_name}, {self.month_start}"


class RateLimitState(TimestampedModel):
    """How far a limit per minute is used up, by the generic cell rate algorithm (ITU-T I.371).

    ``arrival_at`` is the theoretical arrival time: when the allowance would be whole again.
    """

    key = models.CharField(max_length=400, unique=True)
    per_minute = models.PositiveIntegerField(default=1, db_default=1)
    """The limit that ``arrival_at`` was counted by."""
    arrival_at = models.DateTimeField(db_default=Now())
    busy_since = models.DateTimeField(db_default=Now())
    """When the allowance was last whole."""
