"""Spend and rate limit counters. As with the log, only the ledger writes these tables, on its own connection."""

from __future__ import annotations

from django.db import models
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _

from .timestamps import TimestampedModel


class Spend(TimestampedModel):
    """The spend of one provider or one agent in one budget month."""

    class Owner(models.TextChoices):
        PROVIDER = "provider", _("Provider")
        AGENT = "agent", _("Agent")

    owner = models.CharField(_("type"), max_length=10, choices=Owner)
    owner_id = models.BigIntegerField()
    owner_name = models.CharField(_("name"), max_length=100)
    """The name at the first call of the month."""
    month_start = models.DateField(_("month from"))
    spent_usd = models.DecimalField(_("spent (USD)"), max_digits=24, decimal_places=8, default=0, db_default=0)
    reserved_usd = models.DecimalField(
        _("reserved (USD)"), max_digits=24, decimal_places=8, default=0, db_default=0
    )
    """Reserved for requests in progress."""
    calls = models.PositiveIntegerField(_("calls"), default=0, db_default=0)
    """All calls of the month, including those whose rows have been deleted since."""
    unknown_calls = models.PositiveIntegerField(_("calls of unknown cost"), default=0, db_default=0)
    """Counted in ``spent_usd`` at their estimate if the model has a price, else at zero."""
    alerted_at = models.DateTimeField(_("alert sent"), null=True)
    alerted_by = models.CharField(max_length=60, blank=True, default="", db_default="", editable=False)
    """The request that crossed the alert threshold: run ID and round number."""

    class Meta:
        verbose_name = _("monthly cost")
        verbose_name_plural = _("monthly costs")
        ordering = ["-month_start", "owner", "owner_name"]
        constraints = [
            models.UniqueConstraint(fields=["owner", "owner_id", "month_start"], name="zango_ai_spend_once")
        ]

    def __str__(self) -> str:
        return f"{self.owner_name}, {self.month_start}"


class RateLimitState(TimestampedModel):
    """The state of one limit per minute, by the generic cell rate algorithm (ITU-T I.371).

    ``arrival_at`` is the algorithm's theoretical arrival time: when the full allowance is available again.
    """

    key = models.CharField(max_length=400, unique=True)
    per_minute = models.PositiveIntegerField(default=1, db_default=1)
    """The limit with which ``arrival_at`` was computed."""
    arrival_at = models.DateTimeField(db_default=Now())
    busy_since = models.DateTimeField(db_default=Now())
    """When the full allowance was last available."""


class ToolUsage(TimestampedModel):
    """How often a tool was called with one result. The ledger writes it as it ends a call."""

    tool_name = models.CharField(_("tool"), max_length=200)
    status = models.CharField(_("status"), max_length=20)
    """As in ``ToolCall.status``."""
    calls = models.PositiveBigIntegerField(_("calls"), default=0, db_default=0)
    timed_calls = models.PositiveBigIntegerField(default=0, db_default=0)
    """The calls that were executed and so have a duration."""
    duration_ms = models.PositiveBigIntegerField(_("duration (ms)"), default=0, db_default=0)
    """Sum over ``timed_calls``."""

    class Meta:
        verbose_name = _("use of a tool")
        verbose_name_plural = _("use of tools")
        constraints = [models.UniqueConstraint(fields=["tool_name", "status"], name="zango_ai_tool_usage_once")]

    def __str__(self) -> str:
        return f"{self.tool_name}: {self.status}"
