"""The log of runs. Only the ledger writes these tables, on its own connection.

References to configuration have no foreign key constraints: checking one would wait for a lock that the caller may
hold, and deleting an agent must not change its history. The log stores names beside the references.
"""

from __future__ import annotations

import uuid
from typing import Any

from django.contrib.postgres.indexes import HashIndex
from django.db import models
from django.db.models.functions import Left
from django.utils.translation import gettext_lazy as _

from .payload import PayloadListField
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


KEY_CHARS = 64
"""How many characters of a text are in its index."""


def _newest_first(*columns: str) -> list[models.Index]:
    """Indexes for the list of runs, which is sorted by primary key: one for each column that it filters by."""
    return [models.Index(fields=[column, "-id"], name=f"zango_ai_inv_{column[:15]}") for column in columns]


class OutcomeModel(TimestampedModel):
    """The outcome of a round or of a whole run: answer, error, tokens, cost and latency."""

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
    """One ``run()``: its agent and user, the rendered prompts, the answer, and the cost."""

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

    ERRORS = (Status.FAILED, Status.TIMEOUT, Status.RATE_LIMITED, Status.BUDGET_EXCEEDED, Status.ABANDONED)
    ENDED = (Status.SUCCESS, Status.CANCELLED, *ERRORS)

    class Trigger(models.TextChoices):
        USER = "user", _("User")
        TASK = "task", _("Task")
        SYSTEM = "system", _("System")

    run_id = models.UUIDField(_("run ID"), unique=True, default=uuid.uuid4)
    agent = _reference("AgentConfig", _("agent"))
    agent_name = models.CharField(_("agent name"), max_length=100)
    provider = _reference("Provider", _("provider"))
    provider_name = models.CharField(_("provider name"), max_length=100, blank=True, default="", db_default="")
    model = models.CharField(_("model"), max_length=200, blank=True, default="", db_default="")
    triggered_by = models.CharField(_("triggered by"), max_length=10, choices=Trigger)
    user_ref = models.TextField(_("user"), blank=True, default="", db_default="")
    celery_task_id = models.CharField(_("Celery task ID"), max_length=255, blank=True, default="", db_default="")
    session_id = models.TextField(_("session ID"), null=True)
    status = models.CharField(_("status"), max_length=20, choices=Status, default=Status.RUNNING)
    system_prompt_name = models.CharField(_("system prompt"), max_length=100, blank=True, default="", db_default="")
    system_prompt_version = models.PositiveIntegerField(_("system prompt version"), null=True)
    user_prompt_name = models.CharField(_("user prompt"), max_length=100, blank=True, default="", db_default="")
    user_prompt_version = models.PositiveIntegerField(_("user prompt version"), null=True)
    rendered_system_prompt = models.TextField(_("rendered system prompt"), blank=True, default="", db_default="")
    rendered_user_prompt = models.TextField(_("rendered user prompt"), blank=True, default="", db_default="")
    variables = models.JSONField(_("variables"), null=True)
    system_variables = models.JSONField(_("system variables"), null=True)
    timeout_seconds = models.PositiveIntegerField(_("timeout (seconds)"), null=True)
    resume_state = models.TextField(blank=True, default="", db_default="", editable=False)
    """State from which a queued or waiting run resumes, as ASCII JSON."""
    claim = models.CharField(max_length=24, blank=True, default="", db_default="", editable=False)
    """A random token, new whenever the run stops or resumes. A worker can claim only the run that it has read."""
    output_schema = models.CharField(_("output format"), max_length=10, blank=True, default="", db_default="")
    stop_reason = models.CharField(_("stop reason"), max_length=30, blank=True, default="", db_default="")
    response_model = models.CharField(
        _("model that answered"), max_length=200, blank=True, default="", db_default=""
    )
    """As the provider reports it."""
    replay_of = _reference("Invocation", _("replay of"))
    """The run that this one repeats. It has that run's user and session, to whom its texts belong."""
    replayed_by = models.TextField(_("replayed by"), blank=True, default="", db_default="")
    """Who has started the replay."""
    replay_batch = models.UUIDField(_("batch of replays"), null=True)
    """The same for all replays that were started together; None for a single one."""
    is_on_hold = models.BooleanField(_("legal hold"), default=False, db_default=False)
    """Whether maintenance and ``zango_ai_erase`` keep the run and its texts, however old they are."""
    payload_removed_at = models.DateTimeField(_("texts removed"), null=True)
    """When the texts of the run, its rounds and its tool calls were removed; None if they were not."""
    rounds_count = models.PositiveIntegerField(_("rounds"), default=0, db_default=0)
    cancel_requested_at = models.DateTimeField(_("cancel requested"), null=True)
    started_at = models.DateTimeField(_("started"), null=True)
    finished_at = models.DateTimeField(_("finished"), null=True)
    finished_on = models.DateField(_("finished on"), null=True, editable=False)
    """The date of ``finished_at`` in the tenant's time zone. The usage roll-up counts the run on this day."""

    class Meta:
        verbose_name = _("invocation")
        verbose_name_plural = _("invocations")
        ordering = ["-id"]
        permissions = [("view_payload", _("Can read the texts of invocations and conversations"))]
        indexes = [
            *_newest_first("agent_name", "provider_name", "model", "status", "triggered_by"),
            # Whole texts may be too long for an index.
            models.Index(Left("session_id", KEY_CHARS), models.F("id").desc(), name="zango_ai_inv_session"),
            models.Index(Left("user_ref", KEY_CHARS), models.F("id").desc(), name="zango_ai_inv_by_user"),
            models.Index(fields=["-id"], condition=models.Q(session_id=None), name="zango_ai_inv_unremembered"),
            models.Index(
                fields=["-id"], condition=models.Q(session_id__isnull=False), name="zango_ai_inv_remembered"
            ),
            models.Index(fields=["-created_at"], name="zango_ai_inv_created"),
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
            models.Index(
                fields=["started_at"],
                condition=models.Q(payload_removed_at__isnull=True),
                name="zango_ai_inv_texts",
            ),
            HashIndex(fields=["user_ref"], name="zango_ai_inv_user"),
            models.Index(
                fields=["replay_of"], condition=models.Q(replay_of__isnull=False), name="zango_ai_inv_replays"
            ),
            models.Index(
                fields=["-id"], condition=models.Q(replay_of__isnull=False), name="zango_ai_inv_only_replays"
            ),
            models.Index(
                fields=["replay_batch"], condition=models.Q(replay_batch__isnull=False), name="zango_ai_inv_batch"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.agent_name} {self.run_id}"


class InvocationRound(OutcomeModel):
    """One request to the provider, retries included as rounds of their own."""

    invocation = models.ForeignKey(
        Invocation,
        on_delete=models.CASCADE,
        db_index=False,  # the unique index starts with this column, here and below
        related_name="rounds",
        verbose_name=_("invocation"),
    )
    number = models.PositiveIntegerField(_("round"))
    provider = _reference("Provider", _("provider"))
    provider_name = models.CharField(_("provider name"), max_length=100, blank=True, default="", db_default="")
    model = models.CharField(_("model"), max_length=200, blank=True, default="", db_default="")
    request_messages = PayloadListField(_("messages sent"), default=list, db_default=[])
    request_tools = PayloadListField(_("tools sent"), default=list, db_default=[])
    request_params = models.JSONField(_("parameters sent"), default=dict, db_default={})
    response_tool_calls = models.JSONField(_("tool calls"), default=list, db_default=[])
    stop_reason = models.CharField(_("stop reason"), max_length=30, blank=True, default="", db_default="")
    time_to_first_token_ms = models.PositiveBigIntegerField(_("time to first token (ms)"), null=True)
    is_usage_estimated = models.BooleanField(_("estimated usage"), default=False, db_default=False)
    """Whether the provider reported no usage, so that the tokens and the cost are estimates."""
    status = models.CharField(
        _("status"), max_length=20, choices=Invocation.Status, default=Invocation.Status.RUNNING
    )
    provider_month = models.DateField(_("provider's budget month"), null=True)
    agent_month = models.DateField(_("agent's budget month"), null=True)
    reserved_usd = models.DecimalField(
        _("reserved (USD)"), max_digits=20, decimal_places=8, default=0, db_default=0
    )
    """Reserved in both budgets while the request is in progress."""
    charged_usd = models.DecimalField(_("charged (USD)"), max_digits=20, decimal_places=8, default=0, db_default=0)
    """Charged to both budgets: the cost or, if that is unknown, the estimate."""

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
    """A tool call that the model requested, whether or not the tool was executed."""

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
    ERRORS = (Status.ERROR, Status.INVALID_ARGUMENTS)

    round = models.ForeignKey(
        InvocationRound,
        on_delete=models.CASCADE,
        db_index=False,
        related_name="tool_calls",
        verbose_name=_("round"),
    )
    position = models.PositiveIntegerField(_("position"))
    uid = models.UUIDField(unique=True, default=uuid.uuid4)
    """The ID that an approval refers to."""
    call_id = models.TextField(_("call ID"), blank=True, default="", db_default="")
    tool_name = models.TextField(_("tool"), blank=True, default="", db_default="")
    arguments = models.JSONField(_("arguments"), null=True)
    """As the model wrote them. A string if they are not valid JSON."""
    approved_arguments = models.JSONField(_("changed arguments"), null=True)
    """The arguments that the tool was called with, if the person who approved the call changed them."""
    description = models.TextField(_("description"), blank=True, default="", db_default="")
    """What a call that waits for approval does, in the words of ``@tool(describe=...)``; empty without them."""
    result = models.JSONField(_("result"), null=True)
    """The result as sent to the model."""
    status = models.CharField(_("status"), max_length=20, choices=Status)
    error_message = models.TextField(_("error message"), blank=True, default="", db_default="")
    traceback = models.TextField(_("traceback"), blank=True, default="", db_default="")
    """For staff only. It is never sent to the model."""
    duration_ms = models.PositiveBigIntegerField(_("duration (ms)"), null=True)
    expires_at = models.DateTimeField(_("approval expires"), null=True)
    decided_at = models.DateTimeField(_("decided"), null=True)
    decided_by = models.TextField(_("decided by"), blank=True, default="", db_default="")
    decision = models.TextField(_("decision"), blank=True, default="", db_default="")
    """``approved``, ``expired``, or ``denied`` with a reason."""

    class Meta:
        verbose_name = _("tool call")
        verbose_name_plural = _("tool calls")
        ordering = ["round", "position"]
        permissions = [("decide_approval", _("Can approve and deny tool calls"))]
        constraints = [models.UniqueConstraint(fields=["round", "position"], name="zango_ai_call_once")]
        indexes = [
            models.Index(fields=["tool_name", "status"], name="zango_ai_call_tool"),
            models.Index(
                fields=["expires_at"],
                condition=models.Q(status="awaiting_approval"),
                name="zango_ai_call_waiting",
            ),
            models.Index(
                fields=["-decided_at", "-id"],
                condition=models.Q(decided_at__isnull=False),
                name="zango_ai_call_decided",
            ),
        ]

    def __str__(self) -> str:
        return self.tool_name
