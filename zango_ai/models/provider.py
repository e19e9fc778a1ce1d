from __future__ import annotations

from decimal import Decimal

from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.utils.translation import gettext_lazy as _

from ..fields import CredentialsField, Undecryptable
from ..providers.kinds import KINDS
from .stamped import Stamped


class Provider(Stamped):
    """An account at a vendor of models: whose key is used, and what may be spent."""

    name = models.CharField(_("name"), max_length=100, unique=True)
    description = models.TextField(_("description"), blank=True)
    kind = models.CharField(_("kind"), max_length=40)
    """A key of ``providers.kinds.KINDS``; no choices here, so that a new kind is no migration."""
    credentials = CredentialsField(_("credentials"))
    default_model = models.CharField(
        _("default model"),
        max_length=200,
        blank=True,
        help_text=_("Used by agents that name no model of their own."),
    )
    rate_limit_rpm = models.PositiveIntegerField(_("requests per minute"), null=True, blank=True)
    rate_limit_tpm = models.PositiveIntegerField(_("tokens per minute"), null=True, blank=True)
    monthly_budget_usd = models.DecimalField(
        _("monthly budget (USD)"),
        max_digits=14,
        decimal_places=4,
        null=True,
        blank=True,
        validators=[MinValueValidator(Decimal(0))],
    )
    budget_alert_threshold = models.PositiveSmallIntegerField(
        _("alert at percent of budget"),
        default=80,
        validators=[MinValueValidator(1), MaxValueValidator(100)],
    )
    is_enabled = models.BooleanField(_("enabled"), default=True)
    validated_at = models.DateTimeField(_("last connected"), null=True, blank=True, editable=False)
    validation_error = models.TextField(_("last connection error"), blank=True, editable=False)

    class Meta:
        verbose_name = _("provider")
        verbose_name_plural = _("providers")
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name

    def clean(self) -> None:
        kind = KINDS.get(self.kind)
        held = self.credentials
        if kind is None:
            raise ValidationError({"kind": _("Choose one of: %(kinds)s.") % {"kinds": ", ".join(KINDS)}})
        try:
            slot = kind.missing(held or {})
        except Undecryptable:
            raise ValidationError(_("The saved credentials cannot be decrypted. Enter them again.")) from None
        if slot is not None:
            raise ValidationError(_("%(slot)s is needed."), params={"slot": slot.label})


class ProviderModel(Stamped):
    """A model that a provider may use, and its price where it differs from the list."""

    provider = models.ForeignKey(
        Provider, on_delete=models.CASCADE, related_name="models", verbose_name=_("provider")
    )
    model_id = models.CharField(_("model"), max_length=200)
    display_name = models.CharField(_("display name"), max_length=200, blank=True)
    input_cost_per_mtok = models.DecimalField(
        _("input cost (USD per million tokens)"),
        max_digits=14,
        decimal_places=6,
        null=True,
        blank=True,
        validators=[MinValueValidator(Decimal(0))],
        help_text=_("Empty: the price list's."),
    )
    output_cost_per_mtok = models.DecimalField(
        _("output cost (USD per million tokens)"),
        max_digits=14,
        decimal_places=6,
        null=True,
        blank=True,
        validators=[MinValueValidator(Decimal(0))],
        help_text=_("Empty: the price list's."),
    )
    is_enabled = models.BooleanField(_("enabled"), default=True)

    class Meta:
        verbose_name = _("model")
        verbose_name_plural = _("models")
        ordering = ["model_id"]
        constraints = [models.UniqueConstraint(fields=["provider", "model_id"], name="zango_ai_one_row_per_model")]

    def __str__(self) -> str:
        return self.display_name or self.model_id
