from __future__ import annotations

from typing import Any

from django.core.exceptions import ValidationError
from django.db import models, transaction
from django.utils.translation import gettext_lazy as _

from .. import limits
from ..prompts import rendering
from .validated import Ranges, ValidatedModel, choice_constraint, range_constraints

_CHANGEABLE = {"change_description", "updated_at"}
_UNCHANGEABLE = _(
    "The content, number and prompt of a version never change: save a new version. Its status is changed by "
    "activate()."
)


_VERSION_RANGES: Ranges = {"version_number": (1, limits.MAX_VERSIONS)}


class PromptQuerySet(models.QuerySet["Prompt"]):
    def update(self, **kwargs: Any) -> int:
        if "active_version" in kwargs:
            raise ValueError("A version is made active by PromptVersion.activate().")
        return super().update(**kwargs)


class Prompt(ValidatedModel):
    """A named text that agents send; its wording lives in versions, of which one is active.

    Assigning ``active_version`` and saving activates that version. Saving with the version that was loaded
    leaves the active one alone, also where another process has changed it meanwhile.
    """

    class Type(models.TextChoices):
        SYSTEM = "system", _("System prompt")
        USER = "user", _("User prompt")

    name = models.CharField(_("name"), max_length=100, unique=True)
    type = models.CharField(_("type"), max_length=10, choices=Type)
    description = models.TextField(_("description"), blank=True)
    active_version = models.OneToOneField(
        "PromptVersion",
        on_delete=models.RESTRICT,
        null=True,
        blank=True,
        editable=False,
        related_name="+",
        verbose_name=_("active version"),
    )
    last_version_number = models.PositiveIntegerField(default=0, editable=False)
    """A number is given once: the log names versions by it, also those that are deleted."""

    objects = PromptQuerySet.as_manager()

    class Meta:
        verbose_name = _("prompt")
        verbose_name_plural = _("prompts")
        ordering = ["name"]
        constraints = [choice_constraint("prompt", "type", ("system", "user"))]

    def __str__(self) -> str:
        return self.name

    @classmethod
    def from_db(cls, *args: Any, **kwargs: Any) -> Prompt:
        prompt = super().from_db(*args, **kwargs)
        prompt._loaded_active_id = prompt.__dict__.get("active_version_id")
        return prompt

    _loaded_active_id: int | None = None

    def refresh_from_db(self, *args: Any, **kwargs: Any) -> None:
        super().refresh_from_db(*args, **kwargs)
        self._loaded_active_id = self.__dict__.get("active_version_id")

    def save(self, *args: Any, **kwargs: Any) -> None:
        chosen = self._newly_chosen()
        if not self._state.adding:
            named = kwargs.get("update_fields")
            fields = {f.name for f in self._meta.concrete_fields} - self.get_deferred_fields()
            fields -= {"active_version", "last_version_number", self._meta.pk.name}
            kwargs["update_fields"] = fields if named is None else fields & set(named)
        with transaction.atomic(using=kwargs.get("using")):
            super().save(*args, **kwargs)
            if chosen is not None:
                chosen.activate()
                self._loaded_active_id = chosen.pk

    def _newly_chosen(self) -> PromptVersion | None:
        """The version that was assigned since the prompt was loaded."""
        wanted = self.__dict__.get("active_version_id", self._loaded_active_id)
        if wanted == self._loaded_active_id:
            return None
        chosen = self.active_version
        if chosen is None:
            raise ValidationError(_("A prompt with versions has an active one. Activate another instead."))
        if chosen.prompt_id != self.pk:
            raise ValidationError(_("The version belongs to another prompt."))
        return chosen

    def version_in_force(self) -> PromptVersion | None:
        """The active version, also where a migration or a fixture has only set the version's status."""
        if self.active_version_id is not None:
            return self.active_version
        return self.versions.filter(status=PromptVersion.Status.ACTIVE).first()

    def complete(self) -> None:
        """Set what saving sets and a migration or a fixture may have left out: which version is active."""
        # Past the guards of update(), which are for everybody else.
        versions: models.QuerySet[PromptVersion] = models.QuerySet(PromptVersion)
        version = self.version_in_force()
        if version is None:
            return
        if self.active_version_id is None:
            rows: models.QuerySet[Prompt] = models.QuerySet(Prompt)
            rows.filter(pk=self.pk).update(active_version=version)
            self.active_version_id = self._loaded_active_id = version.pk
        active = versions.filter(prompt=self.pk, status=PromptVersion.Status.ACTIVE)
        if not active.exists():
            versions.filter(pk=version.pk).update(status=PromptVersion.Status.ACTIVE)

    def next_number(self) -> int:
        """One more than any version has had."""
        newest = self.versions.aggregate(newest=models.Max("version_number"))["newest"]
        return max(self.last_version_number, newest or 0) + 1

    def add_version(self, content: str, *, change_description: str = "") -> PromptVersion:
        """A new version with ``content``. The first of a prompt is active, a later one a draft."""
        return PromptVersion.objects.create(prompt=self, content=content, change_description=change_description)


class PromptVersionQuerySet(models.QuerySet["PromptVersion"]):
    def update(self, **kwargs: Any) -> int:
        if set(kwargs) - _CHANGEABLE:
            raise ValueError(_UNCHANGEABLE)
        return super().update(**kwargs)

    def bulk_create(self, *args: Any, **kwargs: Any) -> list[PromptVersion]:
        raise ValueError("Prompt versions are numbered as they are saved: create them one by one.")


class PromptVersion(ValidatedModel):
    """One wording of a prompt. Its content never changes once saved, so a log row can name it."""

    class Status(models.TextChoices):
        DRAFT = "draft", _("Draft")
        ACTIVE = "active", _("Active")
        INACTIVE = "inactive", _("Inactive")

    prompt = models.ForeignKey(Prompt, on_delete=models.CASCADE, related_name="versions", verbose_name=_("prompt"))
    version_number = models.PositiveIntegerField(_("version"), editable=False)
    content = models.TextField(_("content"), help_text=_("Placeholders are written {{ name }}."))
    change_description = models.CharField(_("what changed"), max_length=500, blank=True)
    status = models.CharField(_("status"), max_length=10, choices=Status, default=Status.DRAFT, editable=False)
    variables = models.JSONField(_("placeholders"), default=list, editable=False)
    """Names of the placeholders in the content, in order of appearance."""

    objects = PromptVersionQuerySet.as_manager()

    class Meta:
        verbose_name = _("prompt version")
        verbose_name_plural = _("prompt versions")
        ordering = ["prompt", "-version_number"]
        constraints = [
            models.UniqueConstraint(fields=["prompt", "version_number"], name="zango_ai_version_once"),
            models.UniqueConstraint(
                fields=["prompt"],
                condition=models.Q(status="active"),
                name="zango_ai_one_active_version",
            ),
            choice_constraint("version", "status", ("draft", "active", "inactive")),
            *range_constraints("version", _VERSION_RANGES),
        ]

    RANGES = _VERSION_RANGES

    def __str__(self) -> str:
        return f"{self.prompt.name} v{self.version_number}"

    @classmethod
    def from_db(cls, *args: Any, **kwargs: Any) -> PromptVersion:
        version = super().from_db(*args, **kwargs)
        if version.__dict__.get("variables") == []:  # a migration or a fixture need not set them
            version.variables = rendering.find_placeholders(version.__dict__.get("content", ""))
        return version

    def save(self, *args: Any, **kwargs: Any) -> None:
        if self._state.adding:
            self._save_new(*args, **kwargs)
        else:
            self._refuse_change()
            kwargs["update_fields"] = _CHANGEABLE & set(kwargs.get("update_fields") or _CHANGEABLE)
            super().save(*args, **kwargs)

    def _save_new(self, *args: Any, **kwargs: Any) -> None:
        self.variables = rendering.find_placeholders(self.content)
        with transaction.atomic():
            # One at a time for a prompt: numbers are given once, and one version is active.
            prompt = Prompt.objects.select_for_update().get(pk=self.prompt_id)
            prompt.complete()
            self.version_number = self.version_number or prompt.next_number()
            becomes_active = prompt.active_version_id is None or self.status == self.Status.ACTIVE
            if becomes_active:
                self.status = self.Status.DRAFT
            super().save(*args, **kwargs)
            Prompt.objects.filter(pk=self.prompt_id).update(
                last_version_number=max(prompt.last_version_number, self.version_number)
            )
            if becomes_active:
                self.activate()

    def _refuse_change(self) -> None:
        """Raises ValidationError where something was assigned that is not the version's to change."""
        kept = ("content", "version_number", "prompt_id")
        saved = PromptVersion.objects.values(*kept, "status").get(pk=self.pk)
        changed = [name for name in kept if self.__dict__.get(name, saved[name]) != saved[name]]
        if changed:
            raise ValidationError(_UNCHANGEABLE, code="immutable")

    def activate(self) -> None:
        """Make this the version that agents send; the one before becomes inactive."""
        # Past the guard of update(), which is for everybody else.
        versions: models.QuerySet[PromptVersion] = models.QuerySet(PromptVersion)
        with transaction.atomic():
            Prompt.objects.select_for_update().get(pk=self.prompt_id)
            versions.filter(prompt=self.prompt_id, status=self.Status.ACTIVE).exclude(pk=self.pk).update(
                status=self.Status.INACTIVE
            )
            versions.filter(pk=self.pk).update(status=self.Status.ACTIVE)
            prompts_: models.QuerySet[Prompt] = models.QuerySet(Prompt)
            prompts_.filter(pk=self.prompt_id).update(active_version=self)
        self.status = self.Status.ACTIVE
        if PromptVersion.prompt.is_cached(self):
            self.prompt.active_version = self
            self.prompt._loaded_active_id = self.pk
