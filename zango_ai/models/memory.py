"""Conversations that agents remember. As with the log, only the ledger's connection writes these tables."""

from __future__ import annotations

from typing import Any

from django.db import models
from django.db.models.functions import Left
from django.db.models.signals import pre_delete
from django.dispatch import receiver
from django.utils.translation import gettext_lazy as _

from .agent import AgentConfig
from .invocation import KEY_CHARS, Invocation
from .timestamps import TimestampedModel


class MemorySession(TimestampedModel):
    """A conversation with one agent."""

    agent = models.ForeignKey(
        AgentConfig,
        on_delete=models.CASCADE,
        db_constraint=False,  # the caller may not have committed the agent yet
        db_index=False,  # the unique index starts with this column
        related_name="sessions",
        verbose_name=_("agent"),
    )
    session_id = models.CharField(_("session"), max_length=255)
    user_ref = models.TextField(_("user"), blank=True, default="", db_default="")
    """The only user who can continue the conversation. Empty: any user can."""
    is_active = models.BooleanField(_("active"), default=True, db_default=True)
    is_on_hold = models.BooleanField(_("legal hold"), default=False, db_default=False)
    """Whether maintenance and ``zango_ai_erase`` keep the conversation and all its runs."""
    last_active_at = models.DateTimeField(_("last active"))
    generation = models.BigIntegerField(default=0, db_default=0)
    """Changes whenever the session starts over. A run that began under another generation writes nothing."""
    last_invocation_id = models.BigIntegerField(null=True)
    """The run that added the latest turn."""
    turns_count = models.PositiveIntegerField(_("turns"), default=0, db_default=0)
    last_sequence = models.PositiveIntegerField(_("messages"), default=0, db_default=0)

    class Meta:
        verbose_name = _("conversation")
        verbose_name_plural = _("conversations")
        ordering = ["-last_active_at"]
        constraints = [models.UniqueConstraint(fields=["agent", "session_id"], name="zango_ai_session_once")]
        indexes = [models.Index(fields=["last_active_at"], name="zango_ai_session_idle")]

    def __str__(self) -> str:
        return self.session_id


@receiver(pre_delete, sender=MemorySession)
def _keep_runs_on_hold(*, instance: MemorySession, using: str, **kwargs: Any) -> None:
    """The runs of a conversation on hold stay on hold when it is deleted, by itself or with its agent."""
    if instance.is_on_hold:
        runs = Invocation.objects.using(using).filter(agent=instance.agent_id, session_id=instance.session_id)
        runs.update(is_on_hold=True)


class MemoryMessage(TimestampedModel):
    """One message of a conversation."""

    session = models.ForeignKey(
        MemorySession,
        on_delete=models.CASCADE,
        db_constraint=False,  # or deleting an agent fails while a run adds messages
        db_index=False,  # the unique index starts with this column
        related_name="messages",
        verbose_name=_("conversation"),
    )
    sequence = models.PositiveIntegerField(_("number"))
    role = models.CharField(_("role"), max_length=20)
    content = models.TextField(_("content"), blank=True)
    tool_calls = models.JSONField(_("tool calls"), default=list, db_default=[])
    """Each as ``{"id", "name", "arguments"}``; ``arguments`` is the text that the model wrote."""
    tool_call_id = models.TextField(_("tool call ID"), blank=True, default="", db_default="")
    invocation = models.ForeignKey(
        Invocation,
        on_delete=models.DO_NOTHING,
        db_constraint=False,
        null=True,
        db_index=False,
        related_name="+",
        verbose_name=_("invocation"),
    )
    user_ref = models.TextField(_("user"), blank=True, default="", db_default="")
    """The user of the run that added the message. It stays when the run is deleted. Empty: nobody."""

    class Meta:
        verbose_name = _("message")
        verbose_name_plural = _("messages")
        ordering = ["session", "sequence"]
        constraints = [models.UniqueConstraint(fields=["session", "sequence"], name="zango_ai_message_once")]
        indexes = [
            models.Index(fields=["invocation"], name="zango_ai_message_inv"),
            # For zango_ai_erase. The whole user_ref may be too long for an index.
            models.Index(
                Left("user_ref", KEY_CHARS), condition=~models.Q(user_ref=""), name="zango_ai_message_user"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.sequence}"
