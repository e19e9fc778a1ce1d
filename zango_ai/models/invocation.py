"""The log. Only the ledger writes these tables, on a connection of its own.

Nothing here points at a row of another table by a database constraint: a check of it would wait for whoever
has that row locked, and deleting an agent must not touch its history. Names are kept beside the references.
"""

from __future__ import annotations

import uuid
from typing import Any, cast

from django.contrib.postgres.indexes import HashIndex
from django.core.files.storage import Storage, default_storage, storages
from django.core.signals import setting_changed
from django.db import models
from django.dispatch import receiver
from django.utils.functional import LazyObject, empty
from django.utils.translation import gettext_lazy as _

from .timestamps import TimestampedModel


def _reference(to: str, verbose_name: Any) -> models.ForeignKey[Any, Any]:
    return models.ForeignKey(
        to,
        on_delete=models.DO_NOTHING,
        db_constraint=False,
        null=True,
        db_index=False,
        related_name="+",
        verbose_name=verbose_name,
    )


class OutcomeModel(TimestampedModel):
    """What was used and what it cost; a round and the whole run count alike."""

    input_tokens = models.PositiveBigIntegerField(_("input tokens"), default=0, db_default=0)
    output_tokens = models.PositiveBigIntegerField(_("output tokens"), default=0, db_default=0)
    cache_creation_tokens = models.PositiveBigIntegerField(_("tokens written to cache"), default=0, db_default=0)
    cache_read_tokens = models.PositiveBigIntegerField(_("tokens read from cache"), default=0, db_default=0)
    cost_usd = models.DecimalField(_("cost (USD)"), max_digits=20, decimal_places=8, null=True)
    latency_ms = models.PositiveBigIntegerField(_("latency (ms)"), null=True)
    error_type = models.CharField(_("error"), max_length=200, blank=True, default="", db_default="")
    error_message = models.TextField(_("error message"), blank=True, default="", db_default="")
    response_content = models.TextField(_("answer"), blank=True, default="", db_default="")

    class Meta:
        abstract = True


class Invocation(OutcomeModel):
    """One ``run()``: who asked what of which agent, what came back, what it cost."""

    class Status(models.TextChoices):
        QUEUED = "queued", _("Queued")
        RUNNING = "running", _("Running")
        AWAITING_APPROVAL = "awaiting_approval", _("Awaiting approval")
        SUCCESS = "success", _("Success")
        FAILED = "failed", _("Failed")
        TIMEOUT = "timeout", _("Timeout")
        RATE_LIMITED = "rate_limited", _("Rate limited")
        BUDGET_EXCEEDED = "budget_exceeded", _("Budget exceeded")
        CANCELLED = "cancelled", _("Cancelled")
        ABANDONED = "abandoned", _("Abandoned")

    class Trigger(models.TextChoices):
        USER = "user", _("User")
        TASK = "task", _("Task")
        SYSTEM = "system", _("System")

    run_id = models.UUIDField(_("run"), unique=True, default=uuid.uuid4)
    agent = _reference("AgentConfig", _("agent"))
    agent_name = models.CharField(_("agent name"), max_length=100)
    provider = _reference("Provider", _("provider"))
    provider_name = models.CharField(_("provider name"), max_length=100, blank=True, default="", db_default="")
    model = models.CharField(_("model"), max_length=200, blank=True, default="", db_default="")
    triggered_by = models.CharField(_("triggered by"), max_length=10, choices=Trigger)
    user_ref = models.TextField(_("user"), blank=True, default="", db_default="")
    celery_task_id = models.CharField(_("Celery task"), max_length=255, blank=True, default="", db_default="")
    session_id = models.TextField(_("session"), null=True)
    status = models.CharField(_("status"), max_length=20, choices=Status, default=Status.RUNNING)
    system_prompt_name = models.CharField(_("system prompt"), max_length=100, blank=True, default="", db_default="")
    system_prompt_version = models.PositiveIntegerField(_("system prompt version"), null=True)
    user_prompt_name = models.CharField(_("user prompt"), max_length=100, blank=True, default="", db_default="")
    user_prompt_version = models.PositiveIntegerField(_("user prompt version"), null=True)
    rendered_system_prompt = models.TextField(_("system prompt as sent"), blank=True, default="", db_default="")
    rendered_user_prompt = models.TextField(_("user text as sent"), blank=True, default="", db_default="")
    variables = models.JSONField(_("variables"), null=True)
    system_variables = models.JSONField(_("system variables"), null=True)
    timeout_seconds = models.PositiveIntegerField(_("timeout (seconds)"), null=True)
    resume_state = models.TextField(blank=True, default="", db_default="", editable=False)
    """State from which a queued or waiting run resumes, as ASCII JSON."""
    claim = models.CharField(max_length=24, blank=True, default="", db_default="", editable=False)
    """A random token, new whenever the run stops or resumes. A worker can claim only the run that it has read."""
    output_schema = models.CharField(_("output"), max_length=10, blank=True, default="", db_default="")
    stop_reason = models.CharField(_("stop reason"), max_length=30, blank=True, default="", db_default="")
    response_model = models.CharField(
        _("model that answered"), max_length=200, blank=True, default="", db_default=""
    )
    """As the provider reports it."""
    rounds_count = models.PositiveIntegerField(_("rounds"), default=0, db_default=0)
    started_at = models.DateTimeField(_("started"), null=True)
    finished_at = models.DateTimeField(_("finished"), null=True)

    class Meta:
        verbose_name = _("invocation")
        verbose_name_plural = _("invocations")
        ordering = ["-id"]
        indexes = [
            models.Index(fields=["agent_name", "-id"], name="zango_ai_inv_agent"),
            models.Index(fields=["-started_at"], name="zango_ai_inv_started"),
            models.Index(
                fields=["updated_at"],
                condition=models.Q(status__in=["queued", "running"]),
                name="zango_ai_inv_open",
            ),
            models.Index(
                fields=["updated_at"],
                condition=models.Q(status="awaiting_approval"),
                name="zango_ai_inv_waiting",
            ),
            HashIndex(fields=["user_ref"], name="zango_ai_inv_user"),
        ]

    def __str__(self) -> str:
        return f"{self.agent_name} {self.run_id}"


class InvocationRound(OutcomeModel):
    """One call to the provider."""

    invocation = models.ForeignKey(
        Invocation,
        on_delete=models.CASCADE,
        db_index=False,  # the unique index begins with it, here and below
        related_name="rounds",
        verbose_name=_("invocation"),
    )
    number = models.PositiveIntegerField(_("round"))
    provider = _reference("Provider", _("provider"))
    provider_name = models.CharField(_("provider name"), max_length=100, blank=True, default="", db_default="")
    model = models.CharField(_("model"), max_length=200, blank=True, default="", db_default="")
    request_messages = models.JSONField(_("messages sent"), default=list, db_default=[])
    request_tools = models.JSONField(_("tools sent"), default=list, db_default=[])
    request_params = models.JSONField(_("parameters sent"), default=dict, db_default={})
    response_tool_calls = models.JSONField(_("tool calls"), default=list, db_default=[])
    stop_reason = models.CharField(_("stop reason"), max_length=30, blank=True, default="", db_default="")
    time_to_first_token_ms = models.PositiveBigIntegerField(_("time to first token (ms)"), null=True)
    status = models.CharField(
        _("status"), max_length=20, choices=Invocation.Status, default=Invocation.Status.RUNNING
    )
    provider_month = models.DateField(_("provider's budget month"), null=True)
    agent_month = models.DateField(_("agent's budget month"), null=True)
    reserved_usd = models.DecimalField(
        _("reserved (USD)"), max_digits=20, decimal_places=8, default=0, db_default=0
    )
    """Held in both months while the call is under way."""
    charged_usd = models.DecimalField(_("charged (USD)"), max_digits=20, decimal_places=8, default=0, db_default=0)
    """OutcomeModel in both months. The cost, or an estimate where the cost is not known and may not be nothing."""

    class Meta:
        verbose_name = _("round")
        verbose_name_plural = _("rounds")
        ordering = ["invocation", "number"]
        constraints = [models.UniqueConstraint(fields=["invocation", "number"], name="zango_ai_round_once")]
        indexes = [
            models.Index(fields=["invocation"], condition=models.Q(status="running"), name="zango_ai_round_open")
        ]

    def __str__(self) -> str:
        return f"{self.number}"


class ToolCall(TimestampedModel):
    """A call of a tool that a model has asked for, whatever became of it."""

    class Status(models.TextChoices):
        AWAITING_APPROVAL = "awaiting_approval", _("Awaiting approval")
        RUNNING = "running", _("Running")
        SUCCESS = "success", _("Success")
        ERROR = "error", _("Error")
        TIMEOUT = "timeout", _("Timeout")
        INVALID_ARGUMENTS = "invalid_arguments", _("Invalid arguments")
        RATE_LIMITED = "rate_limited", _("Rate limited")
        DENIED = "denied", _("Denied")
        EXPIRED = "expired", _("Approval expired")

    UNFINISHED = (Status.AWAITING_APPROVAL, Status.RUNNING)
    FAULTS = (Status.ERROR, Status.INVALID_ARGUMENTS)

    round = models.ForeignKey(
        InvocationRound,
        on_delete=models.CASCADE,
        db_index=False,
        related_name="tool_calls",
        verbose_name=_("round"),
    )
    position = models.PositiveIntegerField(_("position"))
    uid = models.UUIDField(unique=True, default=uuid.uuid4)
    """What an approval names it by."""
    call_id = models.TextField(_("id of the model's"), blank=True, default="", db_default="")
    tool_name = models.TextField(_("tool"), blank=True, default="", db_default="")
    arguments = models.JSONField(_("arguments"), null=True)
    """As the model gave them; a text where that is no JSON."""
    result = models.JSONField(_("result"), null=True)
    """What the model was told."""
    status = models.CharField(_("status"), max_length=20, choices=Status)
    error_message = models.TextField(_("error message"), blank=True, default="", db_default="")
    traceback = models.TextField(_("traceback"), blank=True, default="", db_default="")
    """For staff; the model is never told."""
    duration_ms = models.PositiveBigIntegerField(_("duration (ms)"), null=True)
    expires_at = models.DateTimeField(_("approval until"), null=True)
    decided_at = models.DateTimeField(_("decided"), null=True)
    decided_by = models.TextField(_("decided by"), blank=True, default="", db_default="")
    decision = models.TextField(_("decision"), blank=True, default="", db_default="")
    """``approved``, ``expired``, or ``denied`` with the reason."""

    class Meta:
        verbose_name = _("tool call")
        verbose_name_plural = _("tool calls")
        ordering = ["round", "position"]
        constraints = [models.UniqueConstraint(fields=["round", "position"], name="zango_ai_call_once")]
        indexes = [
            models.Index(fields=["tool_name", "status"], name="zango_ai_call_tool"),
        ]

    def __str__(self) -> str:
        return self.tool_name


class _Files(LazyObject):  # type: ignore[type-arg]
    """``STORAGES["zango_ai"]``, or the default storage; looked up when it is first used."""

    def _setup(self) -> None:
        self._wrapped = storages["zango_ai"] if "zango_ai" in storages.backends else default_storage


_files = _Files()


@receiver(setting_changed)
def _forget_storage(*, setting: str, **kwargs: Any) -> None:
    if setting == "STORAGES":
        _files._wrapped = cast(Any, empty)


def file_storage() -> Storage:
    """Where files that agents were sent are kept."""
    return cast(Storage, _files)


class InvocationFile(TimestampedModel):
    """A file that went along with a run."""

    class Source(models.TextChoices):
        STORED = "stored", _("Content")
        URL = "url", _("URL")

    invocation = models.ForeignKey(
        Invocation,
        on_delete=models.CASCADE,
        db_index=False,
        related_name="files",
        verbose_name=_("invocation"),
    )
    position = models.PositiveIntegerField(_("position"))
    filename = models.TextField(_("file name"))
    media_type = models.CharField(_("media type"), max_length=200, blank=True, default="", db_default="")
    size_bytes = models.PositiveBigIntegerField(_("size (bytes)"), null=True)
    sha256 = models.CharField(_("SHA-256"), max_length=64, blank=True, default="", db_default="", db_index=True)
    source = models.CharField(_("sent as"), max_length=10, choices=Source)
    url = models.TextField(_("URL"), blank=True, default="", db_default="")
    file = models.FileField(_("content"), storage=file_storage, max_length=255, blank=True, db_default="")
    """The same for the same content in a tenant. Empty for a URL, and where it could not be stored."""

    class Meta:
        verbose_name = _("file")
        verbose_name_plural = _("files")
        ordering = ["invocation", "position"]
        constraints = [models.UniqueConstraint(fields=["invocation", "position"], name="zango_ai_file_once")]

    def __str__(self) -> str:
        return self.filename
