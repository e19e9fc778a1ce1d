from __future__ import annotations

from typing import Any

from django.core.exceptions import ValidationError
from django.db import models, transaction
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from .. import limits
from ..exceptions import PromptNotFound
from ..prompts import rendering
from .tenant_row import TenantRow
from .validated import Ranges, ValidatedModel, choice_constraint, range_constraints

_EDITABLE = {"change_description", "updated_at"}
_IMMUTABLE = _(
    "The content, number and prompt of a saved version never change. Save a new version instead. Use activate() to "
    "change the status."
)


_VERSION_RANGES: Ranges = {"version_number": (1, limits.MAX_VERSIONS)}


class PromptQuerySet(models.QuerySet["Prompt"]):
    def update(self, **kwargs: Any) -> int:
        if "active_version" in kwargs:
            raise ValueError("Call PromptVersion.activate() to change the active version.")
        return super().update(**kwargs)


class Prompt(TenantRow, ValidatedModel):
    """A named prompt. Its text is kept in versions, and exactly one version is active.

    Assign ``active_version`` and save to activate that version. If ``active_version`` was not reassigned, saving
    keeps the version that is active now, even if another process has changed it meanwhile.
    """

    class Type(models.TextChoices):
        SYSTEM = "system", _("System prompt")
        USER = "user", _("User prompt")

    name = models.CharField(_("name"), max_length=100, unique=True)
    type = models.CharField(_("type"), max_length=10, choices=Type)
    description = models.TextField(
        _("description"), blank=True, help_text=_("For your team. It is not sent to the model.")
    )
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
    """Numbers are never reused: the log refers to versions by number, deleted ones included."""

    objects = PromptQuerySet.as_manager()

    class Meta:
        verbose_name = _("prompt")
        verbose_name_plural = _("prompts")
        ordering = ["name"]
        permissions = [("activate_prompt", _("Can activate prompt versions"))]
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
        chosen = self._reassigned_version()
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

    def _reassigned_version(self) -> PromptVersion | None:
        """The version assigned to ``active_version`` since the prompt was loaded; None if it is unchanged."""
        assigned = self.__dict__.get("active_version_id", self._loaded_active_id)
        if assigned == self._loaded_active_id:
            return None
        chosen = self.active_version
        if chosen is None:
            raise ValidationError(_("A prompt with versions needs an active one. Activate another version."))
        if chosen.prompt_id != self.pk:
            raise ValidationError(_("This version belongs to another prompt."))
        return chosen

    @property
    def content(self) -> str:
        """The text of the active version. Raises PromptNotFound if no version is active."""
        return self._require_active_version().content

    @property
    def version_number(self) -> int:
        """The number of the active version. Raises PromptNotFound if no version is active."""
        return self._require_active_version().version_number

    def render(self, /, **variables: Any) -> str:
        """The text of the active version, with these values in place of its placeholders.

        A value is inserted as ``str(value)``, None as empty text. Raises PromptRenderError, which lists every
        placeholder without a value; PromptNotFound if no version is active; WrongTenant.
        """
        renderer = rendering.Renderer()
        text = renderer.render(self.content, variables, prompt_name=self.name)
        renderer.finish(advice="Pass them to render(), or remove the placeholders.")
        return text

    def _require_active_version(self) -> PromptVersion:
        self.require_same_tenant()
        version = self.find_active_version()
        if version is None:
            raise PromptNotFound(
                self.name, f"Prompt {self.name!r} has no active version. Activate one in the admin."
            )
        return version

    def find_active_version(self) -> PromptVersion | None:
        """The active version, even if a migration or a fixture has set only the version's status."""
        if self.active_version_id is not None:
            return self.active_version
        return self.versions.filter(status=PromptVersion.Status.ACTIVE).first()

    def repair_active_version(self) -> None:
        """Set ``active_version`` and the version's status if a migration or a fixture has set only one of them."""
        # Plain querysets, because update() of our own rejects these fields.
        versions: models.QuerySet[PromptVersion] = models.QuerySet(PromptVersion)
        version = self.find_active_version()
        if version is None:
            return
        if self.active_version_id is None:
            rows: models.QuerySet[Prompt] = models.QuerySet(Prompt)
            rows.filter(pk=self.pk).update(active_version=version)
            self.active_version_id = self._loaded_active_id = version.pk
        if version.status != PromptVersion.Status.ACTIVE:
            active = versions.filter(prompt=self.pk, status=PromptVersion.Status.ACTIVE)
            active.update(status=PromptVersion.Status.INACTIVE)
            versions.filter(pk=version.pk).update(status=PromptVersion.Status.ACTIVE)

    def next_number(self) -> int:
        """The number of the next version, never used before."""
        newest = self.versions.aggregate(newest=models.Max("version_number"))["newest"]
        return max(self.last_version_number, newest or 0) + 1

    def add_version(self, content: str, *, change_description: str = "", created_by: str = "") -> PromptVersion:
        """Save a new version with ``content``. The first version of a prompt is active, later ones are drafts."""
        return PromptVersion.objects.create(
            prompt=self, content=content, change_description=change_description, created_by=created_by
        )


class PromptVersionQuerySet(models.QuerySet["PromptVersion"]):
    def update(self, **kwargs: Any) -> int:
        if set(kwargs) - _EDITABLE:
            raise ValueError(_IMMUTABLE)
        return super().update(**kwargs)

    def bulk_create(self, *args: Any, **kwargs: Any) -> list[PromptVersion]:
        raise ValueError(
            "Prompt versions cannot be created in bulk, because save() numbers them. Create them one by one."
        )


class PromptVersion(ValidatedModel):
    """One version of a prompt's text. The text of a saved version never changes, so the log can refer to it."""

    class Status(models.TextChoices):
        DRAFT = "draft", _("Draft")
        ACTIVE = "active", _("Active")
        INACTIVE = "inactive", _("Inactive")

    prompt = models.ForeignKey(Prompt, on_delete=models.CASCADE, related_name="versions", verbose_name=_("prompt"))
    version_number = models.PositiveIntegerField(_("version"), editable=False)
    content = models.TextField(_("content"), help_text=_("Write placeholders as {{ name }}."))
    change_description = models.CharField(_("change description"), max_length=500, blank=True)
    status = models.CharField(_("status"), max_length=10, choices=Status, default=Status.DRAFT, editable=False)
    variables = models.JSONField(_("placeholders"), default=list, editable=False)
    """Names of the placeholders in ``content``, in order of appearance."""
    created_by = models.CharField(_("written by"), max_length=255, blank=True, default="", editable=False)
    activated_at = models.DateTimeField(_("activated"), null=True, editable=False)
    """When the version last became the active one."""
    activated_by = models.CharField(_("activated by"), max_length=255, blank=True, default="", editable=False)

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
        if version.__dict__.get("variables") == []:  # a migration or a fixture may leave them out
            version.variables = rendering.find_placeholders(version.__dict__.get("content", ""))
        return version

    def save(self, *args: Any, **kwargs: Any) -> None:
        if self._state.adding:
            self._save_new(*args, **kwargs)
        else:
            self._require_unchanged()
            kwargs["update_fields"] = _EDITABLE & set(kwargs.get("update_fields") or _EDITABLE)
            super().save(*args, **kwargs)

    def _save_new(self, *args: Any, **kwargs: Any) -> None:
        self.variables = rendering.find_placeholders(self.content)
        with transaction.atomic():
            # The lock serializes saves of a prompt: numbers stay unique, and one version stays active.
            prompt = Prompt.objects.select_for_update().get(pk=self.prompt_id)
            prompt.repair_active_version()
            self.version_number = self.version_number or prompt.next_number()
            becomes_active = prompt.active_version_id is None or self.status == self.Status.ACTIVE
            if becomes_active:
                self.status = self.Status.DRAFT
            super().save(*args, **kwargs)
            Prompt.objects.filter(pk=self.prompt_id).update(
                last_version_number=max(prompt.last_version_number, self.version_number)
            )
            if becomes_active:
                self.activate(activated_by=self.created_by)

    def _require_unchanged(self) -> None:
        """Raise ValidationError if an immutable field was reassigned."""
        immutable = ("content", "version_number", "prompt_id")
        saved = PromptVersion.objects.values(*immutable, "status").get(pk=self.pk)
        changed = [name for name in immutable if self.__dict__.get(name, saved[name]) != saved[name]]
        if changed:
            raise ValidationError(_IMMUTABLE, code="immutable")

    def activate(self, *, activated_by: str = "") -> None:
        """Make agents use this version. The previous one becomes inactive.

        ``activated_by`` names the person, for the version history.
        """
        self.activated_at, self.activated_by = timezone.now(), activated_by[:255]
        # Plain querysets, because update() of our own rejects these fields.
        versions: models.QuerySet[PromptVersion] = models.QuerySet(PromptVersion)
        with transaction.atomic():
            Prompt.objects.select_for_update().get(pk=self.prompt_id)
            versions.filter(prompt=self.prompt_id, status=self.Status.ACTIVE).exclude(pk=self.pk).update(
                status=self.Status.INACTIVE
            )
            versions.filter(pk=self.pk).update(
                status=self.Status.ACTIVE, activated_at=self.activated_at, activated_by=self.activated_by
            )
            prompts: models.QuerySet[Prompt] = models.QuerySet(Prompt)
            prompts.filter(pk=self.prompt_id).update(active_version=self)
        self.status = self.Status.ACTIVE
        if PromptVersion.prompt.is_cached(self):
            self.prompt.active_version = self
            self.prompt._loaded_active_id = self.pk
