"""The chunks of streamed background runs. Maintenance deletes them a day after the run has ended."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _

from .invocation import Invocation
from .timestamps import TimestampedModel


class StreamChunk(TimestampedModel):
    """One chunk of a run that was queued with ``enqueue(stream=True)``. Only the ledger writes this table."""

    invocation = models.ForeignKey(
        Invocation,
        on_delete=models.CASCADE,
        db_index=False,  # the unique index starts with this column
        related_name="chunks",
        verbose_name=_("invocation"),
    )
    number = models.PositiveIntegerField(_("number"))
    type = models.CharField(_("type"), max_length=20)
    text = models.TextField(_("text"), blank=True, default="", db_default="")
    tool_call = models.JSONField(_("tool call"), null=True)
    """The fields of ``LLMToolCall``."""

    class Meta:
        verbose_name = _("stream chunk")
        verbose_name_plural = _("stream chunks")
        ordering = ["invocation", "number"]
        constraints = [models.UniqueConstraint(fields=["invocation", "number"], name="zango_ai_chunk_once")]

    def __str__(self) -> str:
        return f"{self.number}"
