"""Spend, rate limits and usage. As with the log, only the ledger writes these tables, on its own connection."""

from __future__ import annotations

from datetime import date

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
    written_off_usd = models.DecimalField(
        _("written off (USD)"), max_digits=24, decimal_places=8, default=0, db_default=0
    )
    """Taken off ``spent_usd`` by resets. Both together are what the calls of the month have cost."""
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


class UsageRollup(TimestampedModel):
    """How many runs have ended in one hour, and what they have used. The ledger writes it as it ends a run.

    Maintenance merges the hours of past days into one row for each day. A row of the day ``ALL_TIME`` has the sum
    of all others with the same agent, provider, model, trigger and status.
    """

    ALL_TIME = date(1970, 1, 1)

    day = models.DateField(_("day"))
    """In the tenant's time zone: ``Invocation.finished_on``."""
    hour = models.DateTimeField(_("hour"))
    """When the hour started. Of a merged day: midnight UTC of its date."""
    agent_id = models.BigIntegerField(default=0, db_default=0)
    """0 for a run without agent."""
    agent_name = models.CharField(_("agent name"), max_length=100, blank=True, default="", db_default="")
    provider_id = models.BigIntegerField(default=0, db_default=0)
    """Of the run's last call; 0 if the run has ended before it had a provider."""
    provider_name = models.CharField(_("provider name"), max_length=100, blank=True, default="", db_default="")
    model = models.CharField(_("model"), max_length=200, blank=True, default="", db_default="")
    triggered_by = models.CharField(_("triggered by"), max_length=10)
    status = models.CharField(_("status"), max_length=20)
    runs = models.BigIntegerField(_("runs"), default=0, db_default=0)
    unpriced_runs = models.BigIntegerField(_("runs of unknown cost"), default=0, db_default=0)
    """Not counted in ``cost_usd``."""
    latency_ms = models.BigIntegerField(_("latency (ms)"), default=0, db_default=0)
    """Sum over the runs."""
    cost_usd = models.DecimalField(_("cost (USD)"), max_digits=24, decimal_places=8, default=0, db_default=0)
    input_tokens = models.BigIntegerField(_("input tokens"), default=0, db_default=0)
    output_tokens = models.BigIntegerField(_("output tokens"), default=0, db_default=0)
    cache_creation_tokens = models.BigIntegerField(_("tokens written to cache"), default=0, db_default=0)
    cache_read_tokens = models.BigIntegerField(_("tokens read from cache"), default=0, db_default=0)

    class Meta:
        verbose_name = _("usage")
        verbose_name_plural = _("usage")
        constraints = [
            models.UniqueConstraint(
                fields=[
                    *("day", "hour", "agent_id", "provider_id"),
                    *("agent_name", "provider_name", "model", "triggered_by", "status"),
                ],
                name="zango_ai_usage_once",
            )
        ]

    def __str__(self) -> str:
        return f"{self.agent_name or self.provider_name}, {self.day}"
