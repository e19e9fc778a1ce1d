from __future__ import annotations

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class ZangoAIConfig(AppConfig):
    name = "zango_ai"
    label = "zango_ai"
    verbose_name = _("AI")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from . import checks  # noqa: F401  registers the system checks
