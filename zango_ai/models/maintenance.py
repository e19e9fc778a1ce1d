"""When maintenance last ran in the tenant. ``zango_ai_doctor`` reports if it does not."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _


class MaintenanceRecord(models.Model):
    """The last maintenance of the tenant. The table has one row, or none before the first."""

    id = models.PositiveSmallIntegerField(primary_key=True, default=1, editable=False)
    finished_at = models.DateTimeField(_("finished"))
    failed_steps = models.PositiveSmallIntegerField(_("failed steps"), default=0)
    """How many steps have ended with an error."""

    class Meta:
        verbose_name = _("maintenance record")
        verbose_name_plural = _("maintenance records")
        constraints = [models.CheckConstraint(condition=models.Q(id=1), name="zango_ai_one_maintenance_record")]

    def __str__(self) -> str:
        return f"{self.finished_at:%Y-%m-%d %H:%M}"
