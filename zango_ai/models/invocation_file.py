"""Files that were sent with runs, and the storage of their content."""

from __future__ import annotations

from typing import Any, cast

from django.core.files.storage import Storage, default_storage, storages
from django.core.signals import setting_changed
from django.db import models
from django.dispatch import receiver
from django.utils.functional import LazyObject, empty
from django.utils.translation import gettext_lazy as _

from .invocation import Invocation
from .timestamps import TimestampedModel


class _FileStorage(LazyObject):  # type: ignore[type-arg]
    """``STORAGES["zango_ai"]`` or else the default storage, resolved on first use."""

    def _setup(self) -> None:
        self._wrapped = storages["zango_ai"] if "zango_ai" in storages.backends else default_storage


_storage = _FileStorage()


@receiver(setting_changed)
def _forget_storage(*, setting: str, **kwargs: Any) -> None:
    if setting == "STORAGES":
        _storage._wrapped = cast(Any, empty)


def file_storage() -> Storage:
    """The storage for files sent to agents."""
    return cast(Storage, _storage)


class InvocationFile(TimestampedModel):
    """A file sent with a run."""

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
    """Runs of a tenant share one stored copy of the same content. Empty for a URL or if storing failed."""

    class Meta:
        verbose_name = _("file")
        verbose_name_plural = _("files")
        ordering = ["invocation", "position"]
        constraints = [models.UniqueConstraint(fields=["invocation", "position"], name="zango_ai_file_once")]

    def __str__(self) -> str:
        return self.filename
