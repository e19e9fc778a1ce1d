from __future__ import annotations

from typing import TYPE_CHECKING

from django.db import models
from django.utils.translation import gettext_lazy as _

from .. import limits
from .budgeted import RATE_RANGES, rate_limit_field
from .provider import Provider
from .validated import Ranges, ValidatedModel, range_constraints

if TYPE_CHECKING:
    from ..types import ModelSpec

_MODEL_RANGES: Ranges = {
    **RATE_RANGES,
    "input_cost_per_mtok": (0, limits.MAX_USD_PER_MTOK),
    "output_cost_per_mtok": (0, limits.MAX_USD_PER_MTOK),
}


class ProviderModel(ValidatedModel):
    """A model that the provider allows, with settings that override the price list."""

    provider = models.ForeignKey(
        Provider, on_delete=models.CASCADE, related_name="models", verbose_name=_("provider")
    )
    model_id = models.CharField(
        _("model"), max_length=200, help_text=_("The vendor's name for the model, for example gpt-5.4-mini.")
    )
    display_name = models.CharField(_("display name"), max_length=200, blank=True)
    input_cost_per_mtok = models.DecimalField(
        _("input price (USD / million tokens)"),
        max_digits=14,
        decimal_places=6,
        null=True,
        blank=True,
        help_text=_("Leave empty to use the price list."),
    )
    output_cost_per_mtok = models.DecimalField(
        _("output price (USD / million tokens)"),
        max_digits=14,
        decimal_places=6,
        null=True,
        blank=True,
        help_text=_("Leave empty to use the price list."),
    )
    accepts_schema = models.BooleanField(
        _("JSON schema"),
        null=True,
        blank=True,
        help_text=_(
            "Whether the model accepts a JSON schema. Unknown: the price list decides. Self-hosted servers are "
            "always sent the schema first."
        ),
    )
    accepts_tools = models.BooleanField(
        _("tools"),
        null=True,
        blank=True,
        help_text=_("Whether the model can call tools. No: agents with tools cannot use it."),
    )
    accepts_images = models.BooleanField(
        _("images"),
        null=True,
        blank=True,
        help_text=_("Whether the model can read images. Unknown: the price list decides."),
    )
    accepts_documents = models.BooleanField(
        _("documents"),
        null=True,
        blank=True,
        help_text=_("Whether the model can read documents such as PDF files. Unknown: the price list decides."),
    )
    rate_limit_rpm = rate_limit_field(_("requests per minute"))
    rate_limit_tpm = rate_limit_field(_("tokens per minute"))
    is_enabled = models.BooleanField(_("enabled"), default=True)
    is_listed = models.BooleanField(_("in the vendor's list"), null=True, editable=False)
    """Whether the vendor listed the model when its models were last fetched. None: never fetched."""

    class Meta:
        verbose_name = _("model")
        verbose_name_plural = _("models")
        ordering = ["model_id"]
        constraints = [
            models.UniqueConstraint(fields=["provider", "model_id"], name="zango_ai_one_row_per_model"),
            *range_constraints("model", _MODEL_RANGES),
        ]

    RANGES = _MODEL_RANGES

    def __str__(self) -> str:
        return self.display_name or self.model_id

    SPEC_FIELDS = (
        *("model_id", "is_enabled", "input_cost_per_mtok", "output_cost_per_mtok"),
        *("accepts_schema", "accepts_tools", "accepts_images", "accepts_documents"),
        *("rate_limit_rpm", "rate_limit_tpm"),
    )
    """The columns that a run reads."""

    def spec(self) -> ModelSpec:
        from . import specs

        return specs.model_spec({name: getattr(self, name) for name in self.SPEC_FIELDS})
