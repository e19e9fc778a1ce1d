"""The tools that agents can call. Code declares them; the rows let staff choose tools and see statistics."""

from __future__ import annotations

from typing import Any

from django.db import models
from django.db.models import Max, OuterRef, Q, Subquery, Sum
from django.db.models.functions import Cast, Coalesce, NullIf
from django.utils.translation import gettext_lazy as _

from .. import limits
from ..encryption.fields import OrderedJSONField
from ..tools import ToolSafety
from .invocation import ToolCall
from .usage import ToolUsage
from .validated import Ranges, ValidatedModel, choice_constraint, range_constraints

_SAFETIES = [
    (ToolSafety.READ_ONLY.value, _("Read-only")),
    (ToolSafety.WRITE.value, _("Writes data")),
    (ToolSafety.EXTERNAL.value, _("External effects")),
]
_POLICIES = [("include", _("Included")), ("exclude", _("Excluded"))]


_RANGES: Ranges = {
    "timeout_seconds": (0, limits.MAX_TIMEOUT_S),
    "rate_limit_rpm": (0, limits.MAX_PER_MINUTE),
}


class ToolQuerySet(models.QuerySet["Tool"]):
    def with_statistics(self) -> ToolQuerySet:
        """Annotate tools with ``calls``, ``errors``, ``timeouts``, ``average_ms`` and ``last_called_at``."""
        usage = ToolUsage.objects.filter(tool_name=OuterRef("name")).order_by().values("tool_name")
        ended = {
            "calls": Sum("calls"),
            "errors": Sum("calls", filter=Q(status__in=ToolCall.ERRORS)),
            "timeouts": Sum("calls", filter=Q(status=ToolCall.Status.TIMEOUT)),
        }
        statistics: dict[str, Any] = {
            name: Coalesce(Subquery(usage.annotate(_value=total).values("_value")), 0)
            for name, total in ended.items()
        }
        total_ms = Cast(Sum("duration_ms"), models.FloatField())
        average = usage.annotate(_value=total_ms / Cast(NullIf(Sum("timed_calls"), 0), models.FloatField()))
        last = usage.annotate(_value=Max("updated_at"))
        return self.annotate(
            **statistics,
            average_ms=Subquery(average.values("_value")),
            last_called_at=Subquery(last.values("_value")),
        )


class Tool(ValidatedModel):
    """A function declared with ``@tool``. ``zango_ai_sync_tools`` writes the rows."""

    name = models.CharField(_("name"), max_length=64, unique=True)
    description = models.TextField(_("description"))
    section = models.CharField(_("section"), max_length=100, blank=True, default="")
    parameters_schema = OrderedJSONField(_("parameters"), default=dict)
    python_path = models.CharField(_("function"), max_length=500)
    safety = models.CharField(_("safety"), max_length=10, choices=_SAFETIES)
    timeout_seconds = models.FloatField(_("timeout (seconds)"))
    rate_limit_rpm = models.PositiveIntegerField(_("calls per minute"), null=True)
    return_type = models.CharField(_("return type"), max_length=500, blank=True, default="")
    schema_hash = models.CharField(max_length=64)
    """SHA-256 of the declaration. It changes when the declaration changes."""
    memory_policy = models.CharField(_("memory"), max_length=10, choices=_POLICIES, default="include")
    requires_approval = models.BooleanField(_("requires approval"), default=False)
    is_active = models.BooleanField(_("active"), default=True)
    """False if the code no longer declares the tool."""
    is_enabled = models.BooleanField(
        _("enabled"),
        default=True,
        help_text=_(
            "Turn off to hide this tool from every agent. Runs that have already started can still call it."
        ),
    )

    objects = ToolQuerySet.as_manager()

    class Meta:
        verbose_name = _("tool")
        verbose_name_plural = _("tools")
        ordering = ["section", "name"]
        constraints = [
            *range_constraints("tool", _RANGES),
            choice_constraint("tool", "safety", [value for value, _label in _SAFETIES]),
            choice_constraint("tool", "memory_policy", [value for value, _label in _POLICIES]),
        ]

    RANGES = _RANGES

    def __str__(self) -> str:
        return self.name
