from __future__ import annotations

from collections.abc import Collection
from datetime import timedelta
from typing import TYPE_CHECKING

from django.core.exceptions import ValidationError
from django.db import connection, models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from .. import limits
from ..conf import get_conf
from ..encryption.fields import CredentialsField, Undecryptable
from ..exceptions import ModelNotAvailable, ZangoAIError
from ..providers import addresses
from ..providers.kinds import KINDS
from .budgeted import BUDGET_RANGES, RATE_RANGES, BudgetedModel, per_minute
from .validated import Ranges, ValidatedModel, range_constraints, within

if TYPE_CHECKING:
    from ..types import ModelSpec, ProviderSpec


_LATELY_DAYS = 90
_NOT_ALLOWED = _(
    "Model %(model)s is not enabled in the list of models of provider %(provider)s: runs with it will fail."
)
_RANGES: Ranges = {**BUDGET_RANGES, **RATE_RANGES, "max_retries": (0, limits.MAX_RETRIES)}
_MODEL_RANGES: Ranges = {
    **RATE_RANGES,
    "input_cost_per_mtok": (0, limits.MAX_USD_PER_MTOK),
    "output_cost_per_mtok": (0, limits.MAX_USD_PER_MTOK),
}


class Provider(BudgetedModel):
    """An account at a vendor of models: whose key is used, and what may be spent."""

    name = models.CharField(_("name"), max_length=100, unique=True)
    description = models.TextField(_("description"), blank=True)
    kind = models.CharField(_("kind"), max_length=40)
    """A key of ``providers.kinds.KINDS``. ``save()`` checks it: a database constraint would make each new kind a
    migration."""
    credentials = CredentialsField(_("credentials"))
    default_model = models.CharField(
        _("default model"),
        max_length=200,
        blank=True,
        help_text=_("Used by agents that name no model of their own."),
    )
    rate_limit_rpm = per_minute(_("requests per minute"))
    rate_limit_tpm = per_minute(_("tokens per minute"))
    allow_unpriced = models.BooleanField(
        _("allow models without a price"),
        default=False,
        help_text=_("With a budget, a model whose price is not known is refused unless this is on."),
    )
    max_retries = models.PositiveSmallIntegerField(
        _("retries"),
        default=2,
        validators=within(*_RANGES["max_retries"]),
        help_text=_("After a rate limit, a server error or a broken connection; within the agent's timeout."),
    )
    is_enabled = models.BooleanField(_("enabled"), default=True)
    validated_at = models.DateTimeField(_("last tested"), null=True, blank=True, editable=False)
    validation_error = models.TextField(_("last connection error"), blank=True, editable=False)

    class Meta(BudgetedModel.Meta):
        abstract = False
        verbose_name = _("provider")
        verbose_name_plural = _("providers")
        ordering = ["name"]
        constraints = range_constraints("provider", _RANGES)

    RANGES = _RANGES

    @classmethod
    def allowed_values(cls, name: str) -> Collection[str]:
        return KINDS if name == "kind" else super().allowed_values(name)

    def __str__(self) -> str:
        return self.name

    SPEC_FIELDS = (
        *("id", "name", "kind", "credentials", "default_model", "is_enabled", "max_retries", "allow_unpriced"),
        *("rate_limit_rpm", "rate_limit_tpm", *BudgetedModel.BUDGET_FIELDS),
    )
    """What a run has to know of a provider."""

    def spec(self) -> ProviderSpec:
        """The provider as a run sees it."""
        from . import specs

        values = {name: getattr(self, name) for name in self.SPEC_FIELDS}
        return specs.provider_spec(values, [model.spec() for model in self.models.all()])

    @classmethod
    def swap_credentials(cls, pk: int, before: str, after: str) -> bool:
        """Put the token ``after`` in place of ``before``; False where somebody has saved another meanwhile."""
        table = connection.ops.quote_name(cls._meta.db_table)
        with connection.cursor() as cursor:
            cursor.execute(
                f"UPDATE {table} SET credentials = %s, updated_at = now() "  # noqa: S608
                "WHERE id = %s AND credentials = %s",
                [after, pk, before],
            )
            return bool(cursor.rowcount)

    def validate_connection(self) -> bool:
        """Make the smallest real call, and keep when and with what error. True where it was answered.

        Asks the default model, or the first that is enabled; the call costs a few tokens at the vendor.
        """
        from ..providers import chat

        spec = self.spec()
        model = self.default_model or next((row.model_id for row in spec.models if row.is_enabled), "")
        try:
            if not model:
                raise ModelNotAvailable("", self.name, "Name a default model: it is what is asked.")
            chat.ping(spec, model)
            self.validation_error = ""
        except ZangoAIError as exc:
            self.validation_error = str(exc)
        self.validated_at = timezone.now()
        self.save(update_fields=["validated_at", "validation_error", "updated_at"])
        return not self.validation_error

    def fetch_models(self) -> list[ProviderModel]:
        """Ask the vendor for its models, add the new ones, and return them. Existing rows stay enabled or disabled.

        New models are enabled, unless somebody has disabled a model of the list. A provider without rows allows any
        model, so models in use get rows too: they stay allowed. Each row's ``is_listed`` tells whether the vendor
        names it. Raises a ZangoAIError if the vendor cannot be asked.
        """
        from ..providers import catalogue

        listed = set(catalogue.list_models(self.spec()))
        here = dict(self.models.values_list("model_id", "is_enabled"))
        in_use = set() if here else self.models_in_use() | self._models_of_late()
        new = [
            ProviderModel(provider=self, model_id=name, is_enabled=all(here.values()))
            for name in sorted(listed | in_use)
            if name not in here
        ]
        ProviderModel.objects.bulk_create(new, ignore_conflicts=True)
        self.models.exclude(model_id__in=listed).update(is_listed=False)
        self.models.filter(model_id__in=listed).update(is_listed=True)
        return list(self.models.filter(model_id__in=[row.model_id for row in new], is_listed=True))

    def unlisted_models(self) -> list[str]:
        """Enabled models that the vendor did not name when its models were last fetched."""
        rows = self.models.filter(is_enabled=True, is_listed=False)
        return list(rows.values_list("model_id", flat=True))

    def models_in_use(self) -> set[str]:
        """The default model, and the models that agents and fallbacks name."""
        named = {*self.agents.values_list("model", flat=True), *self.fallback_for.values_list("model", flat=True)}
        return {self.default_model, *named} - {""}

    def _models_of_late(self) -> set[str]:
        """Models that have answered lately, as code may name them with ``run(model=...)``."""
        from .invocation import InvocationRound

        since = timezone.now() - timedelta(days=_LATELY_DAYS)
        rounds = InvocationRound.objects.filter(provider=self, status="success", created_at__gte=since)
        return set(rounds.values_list("model", flat=True).distinct()) - {""}

    def note_on_model(self, model: str) -> str:
        """A warning that the provider does not allow the model; "" if it does."""
        if not model or self.spec().allows(model):
            return ""
        return str(_NOT_ALLOWED) % {"model": model, "provider": self.name}

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
        slot = kind.malformed(held)
        if slot is not None:
            raise ValidationError(
                _("%(slot)s has spaces, line breaks or other signs in it."), params={"slot": slot.label}
            )
        problem = addresses.problem_of(kind.base_of(held), get_conf().allowed_api_bases)
        if problem is not None:
            raise ValidationError(_("API base URL: %(problem)s"), params={"problem": problem})


class ProviderModel(ValidatedModel):
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
        validators=within(*_MODEL_RANGES["input_cost_per_mtok"]),
        help_text=_("Empty: the price list's."),
    )
    output_cost_per_mtok = models.DecimalField(
        _("output cost (USD per million tokens)"),
        max_digits=14,
        decimal_places=6,
        null=True,
        blank=True,
        validators=within(*_MODEL_RANGES["output_cost_per_mtok"]),
        help_text=_("Empty: the price list's."),
    )
    accepts_schema = models.BooleanField(
        _("JSON schema"),
        null=True,
        blank=True,
        help_text=_("Unknown: as in the price list. Self-hosted servers are always tried with the schema first."),
    )
    accepts_tools = models.BooleanField(
        _("tools"), null=True, blank=True, help_text=_("No: agents with tools cannot use this model.")
    )
    accepts_images = models.BooleanField(
        _("images"), null=True, blank=True, help_text=_("Unknown: as in the price list.")
    )
    accepts_documents = models.BooleanField(
        _("documents"), null=True, blank=True, help_text=_("Unknown: as in the price list.")
    )
    rate_limit_rpm = per_minute(_("requests per minute"))
    rate_limit_tpm = per_minute(_("tokens per minute"))
    is_enabled = models.BooleanField(_("enabled"), default=True)
    is_listed = models.BooleanField(_("in the vendor's list"), null=True, editable=False)
    """As of the last time that the models were fetched; None where they never were."""

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
    """What a run has to know of a model."""

    def spec(self) -> ModelSpec:
        from . import specs

        return specs.model_spec({name: getattr(self, name) for name in self.SPEC_FIELDS})
