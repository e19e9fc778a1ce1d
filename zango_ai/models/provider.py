from __future__ import annotations

from collections.abc import Collection
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from django.core.exceptions import ValidationError
from django.db import connection, models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from .. import limits
from ..conf import get_conf
from ..encryption.cipher import Undecryptable
from ..encryption.fields import CredentialsField
from ..exceptions import ModelNotAvailable, ZangoAIError
from ..providers import addresses
from ..providers.kinds import KINDS
from .budgeted import BUDGET_RANGES, RATE_RANGES, BudgetedModel, rate_limit_field
from .direct_calls import DirectCalls
from .validated import Ranges, range_constraints

if TYPE_CHECKING:
    from ..types import ProviderSpec
    from .provider_model import ProviderModel


_RECENT_DAYS = 90
_NOT_ALLOWED = _(
    "Provider %(provider)s does not allow the model %(model)s, so runs with it fail. Enable it in the provider's "
    "allowed models."
)
_RANGES: Ranges = {**BUDGET_RANGES, **RATE_RANGES, "max_retries": (0, limits.MAX_RETRIES)}


class Provider(DirectCalls, BudgetedModel):
    """An account with a model vendor, or a self-hosted server: credentials, budget and rate limits."""

    name = models.CharField(_("name"), max_length=100, unique=True)
    description = models.TextField(
        _("description"), blank=True, help_text=_("For your team. It is not sent to the model.")
    )
    kind = models.CharField(_("kind"), max_length=40)
    """A key of ``providers.kinds.KINDS``. It has no database constraint: each new kind would need a migration."""
    credentials = CredentialsField(_("credentials"))
    default_model = models.CharField(
        _("default model"),
        max_length=200,
        blank=True,
        help_text=_("Used by agents that set no model of their own."),
    )
    rate_limit_rpm = rate_limit_field(_("requests per minute"))
    rate_limit_tpm = rate_limit_field(_("tokens per minute"))
    allow_unpriced = models.BooleanField(
        _("allow models without a price"),
        default=False,
        help_text=_(
            "With a budget, calls to a model whose price is unknown are refused. Turn on to allow them. Their cost "
            "does not count towards the budget."
        ),
    )
    max_retries = models.PositiveSmallIntegerField(
        _("retries"),
        default=2,
        help_text=_(
            "How many times to repeat a call after a rate limit, a server error or a broken connection, within the "
            "agent's timeout. Default: 2."
        ),
    )
    is_enabled = models.BooleanField(
        _("enabled"), default=True, help_text=_("Turn off to stop all calls to this provider at once.")
    )
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
    """The columns that a run reads."""

    def spec(self) -> ProviderSpec:
        """The provider and its models as a run uses them."""
        from . import specs

        values = {name: getattr(self, name) for name in self.SPEC_FIELDS}
        models = self.models.all() if self.pk else ()
        return specs.provider_spec(values, [model.spec() for model in models])

    @classmethod
    def swap_credentials(cls, pk: int, before: str, after: str) -> bool:
        """Replace the encrypted token ``before`` by ``after``. False if the credentials have changed since."""
        table = connection.ops.quote_name(cls._meta.db_table)
        with connection.cursor() as cursor:
            cursor.execute(
                f"UPDATE {table} SET credentials = %s, updated_at = now() "  # noqa: S608
                "WHERE id = %s AND credentials = %s",
                [after, pk, before],
            )
            return bool(cursor.rowcount)

    def validate_connection(self) -> bool:
        """Send a minimal request, and save the time and any error. True if the model answered.

        Uses the default model, or else the first enabled one. The vendor bills a few tokens.
        """
        from ..providers import calls

        spec = self.spec()
        model = self.default_model or next((row.model_id for row in spec.models if row.is_enabled), "")
        try:
            if not model:
                raise ModelNotAvailable("", self.name, "Set a default model to test the connection.")
            calls.ping(spec, model)
            self.keep_test("")
        except ZangoAIError as exc:
            self.keep_test(str(exc))
        return not self.validation_error

    def keep_test(self, error: str) -> None:
        """Save the result of a connection test."""
        self.validated_at, self.validation_error = timezone.now(), error
        self.save(update_fields=["validated_at", "validation_error", "updated_at"])

    def fetch_models(self) -> list[ProviderModel]:
        """Fetch the vendor's list of models, add the new ones, and return them. Existing rows stay as they are.

        New models are enabled unless one of the existing rows is disabled. A provider without rows allows any
        model, so models in use get rows too and stay allowed, even if the vendor does not list them. ``is_listed``
        is updated on every row. Raises a ZangoAIError if the list cannot be fetched.
        """
        from ..providers import model_list
        from .provider_model import ProviderModel

        listed = set(model_list.list_models(self.spec()))
        existing = dict(self.models.values_list("model_id", "is_enabled"))
        in_use = set() if existing else self.models_in_use() | self._recent_models()
        new = [
            ProviderModel(provider=self, model_id=name, is_enabled=all(existing.values()))
            for name in sorted(listed | in_use)
            if name not in existing
        ]
        ProviderModel.objects.bulk_create(new, ignore_conflicts=True)
        self.models.exclude(model_id__in=listed).update(is_listed=False)
        self.models.filter(model_id__in=listed).update(is_listed=True)
        return list(self.models.filter(model_id__in=[row.model_id for row in new], is_listed=True))

    def add_models(self, names: list[str]) -> list[ProviderModel]:
        """Allow models of the vendor's list, and return the new rows. Models in use stay allowed."""
        from .provider_model import ProviderModel

        if not names:
            return []
        in_use = set() if self.models.exists() else self.models_in_use() | self._recent_models()
        rows = [ProviderModel(provider=self, model_id=name, is_listed=True) for name in names]
        others = [ProviderModel(provider=self, model_id=name) for name in sorted(in_use.difference(names))]
        return ProviderModel.objects.bulk_create([*rows, *others], ignore_conflicts=True)

    def unlisted_models(self) -> list[str]:
        """Enabled models that were missing from the vendor's list when it was last fetched."""
        rows = self.models.filter(is_enabled=True, is_listed=False)
        return list(rows.values_list("model_id", flat=True))

    def models_in_use(self) -> set[str]:
        """The default model and the models set on agents and fallbacks."""
        named = {*self.agents.values_list("model", flat=True), *self.fallback_for.values_list("model", flat=True)}
        return {self.default_model, *named} - {""}

    def _recent_models(self) -> set[str]:
        """Models that answered recently: code can choose one with ``run(model=...)``."""
        from .invocation import InvocationRound

        since = timezone.now() - timedelta(days=_RECENT_DAYS)
        rounds = InvocationRound.objects.filter(provider=self, status="success", created_at__gte=since)
        return set(rounds.values_list("model", flat=True).distinct()) - {""}

    def model_warning(self, model: str) -> str:
        """A warning that the provider does not allow ``model``; "" if it does."""
        if not model or self.spec().allows(model):
            return ""
        return str(_NOT_ALLOWED) % {"model": model, "provider": self.name}

    def _error(self, field: Any, value: Any) -> Any:
        kind = KINDS.get(self.kind) if field.name == "credentials" else None
        if kind is not None:
            try:
                return kind.unknown_credential(field.to_python(value).reveal())
            except Undecryptable:
                return None  # a run reports it
        return super()._error(field, value)

    def clean(self) -> None:
        kind = KINDS.get(self.kind)
        if kind is None:
            return  # clean_fields() has reported it
        credentials = self.credentials
        try:
            missing = kind.missing_slot(credentials or {})
        except Undecryptable:
            raise ValidationError(_("The saved credentials cannot be decrypted. Enter them again.")) from None
        if missing is not None:
            raise ValidationError(_("%(field)s is required."), params={"field": _(missing.label)})
        malformed = kind.malformed_slot(credentials)
        if malformed is not None:
            raise ValidationError(
                _("%(field)s contains spaces, line breaks or characters that are not allowed. Enter it again."),
                params={"field": _(malformed.label)},
            )
        problem = addresses.problem_of(kind.base_url(credentials), get_conf().allowed_api_bases)
        if problem is not None:
            raise ValidationError(_("API base URL: %(problem)s"), params={"problem": problem})
