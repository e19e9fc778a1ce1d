from __future__ import annotations

import logging
from typing import Any

from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator, RegexValidator
from django.db import models
from django.utils.translation import gettext_lazy as _

from .. import limits
from ..encryption.fields import OrderedJSONField
from .budgeted import BUDGET_RANGES, BudgetedModel
from .prompt import Prompt
from .provider import Provider
from .tool import Tool
from .validated import Ranges, ValidatedModel, choice_constraint, range_constraints, within

logger = logging.getLogger("zango_ai.agent")

_STRICTNESS = _(
    "The JSON schema cannot be sent in strict form, since %(reason)s: answers are checked against it all the same."
)
_UNUSED_SCHEMA = _(
    "The JSON schema has no effect: answers are not checked. Set the output to JSON to use the schema."
)

_RANGES: Ranges = {
    **BUDGET_RANGES,
    "temperature": (0, 2),
    "max_tokens": (1, limits.MAX_TOKENS),
    "timeout_seconds": (1, limits.MAX_TIMEOUT_S),
    "output_retries": (0, limits.MAX_OUTPUT_RETRIES),
    "max_tool_rounds": (0, limits.MAX_TOOL_ROUNDS),
    "short_term_memory_max_messages": (0, limits.MAX_REMEMBERED_TURNS),
}
_FALLBACK_RANGES: Ranges = {"position": (0, limits.MAX_POSITION)}


class AgentConfig(BudgetedModel):
    """What ``get_agent(name)`` finds: a model, its prompts and its limits."""

    class OutputSchema(models.TextChoices):
        TEXT = "text", _("Text")
        JSON = "json", _("JSON")
        MARKDOWN = "markdown", _("Markdown")

    name = models.CharField(
        _("name"),
        max_length=100,
        unique=True,
        validators=[
            RegexValidator(
                r"^[A-Za-z0-9][A-Za-z0-9_-]*\Z",
                _("Use letters, digits, hyphens and underscores: programs call the agent by this name."),
            )
        ],
        help_text=_("Used in code, as get_agent('patient-summary')."),
    )
    description = models.TextField(_("description"), blank=True)
    provider = models.ForeignKey(
        Provider, on_delete=models.PROTECT, related_name="agents", verbose_name=_("provider")
    )
    model = models.CharField(
        _("model"), max_length=200, blank=True, help_text=_("Empty: the provider's default model.")
    )
    system_prompt = models.ForeignKey(
        Prompt,
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="+",
        limit_choices_to={"type": Prompt.Type.SYSTEM},
        verbose_name=_("system prompt"),
    )
    user_prompt = models.ForeignKey(
        Prompt,
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="+",
        limit_choices_to={"type": Prompt.Type.USER},
        verbose_name=_("user prompt"),
    )
    temperature = models.FloatField(
        _("temperature"),
        default=0.7,
        validators=[MinValueValidator(0.0), MaxValueValidator(2.0)],
        help_text=_("0 is the most predictable, 2 the most varied."),
    )
    max_tokens = models.PositiveIntegerField(
        _("maximum tokens"),
        default=2000,
        validators=within(*_RANGES["max_tokens"]),
        help_text=_("Of one answer."),
    )
    timeout_seconds = models.PositiveIntegerField(
        _("timeout (seconds)"), default=30, validators=within(*_RANGES["timeout_seconds"])
    )
    output_schema = models.CharField(_("output"), max_length=10, choices=OutputSchema, default=OutputSchema.TEXT)
    output_json_schema = OrderedJSONField(
        _("JSON schema"), null=True, blank=True, help_text=_("JSON Schema, draft 2020-12.")
    )
    output_retries = models.PositiveSmallIntegerField(
        _("corrections"),
        default=0,
        validators=within(*_RANGES["output_retries"]),
        help_text=_(
            "How often JSON that is not what it should be goes back to the model. Each is a call of its own."
        ),
    )
    tools = models.ManyToManyField(
        Tool,
        blank=True,
        related_name="agents",
        verbose_name=_("tools"),
        help_text=_("The functions that it may call, and no others."),
    )
    max_tool_rounds = models.PositiveSmallIntegerField(
        _("rounds of tool calls"),
        default=10,
        validators=within(*_RANGES["max_tool_rounds"]),
        help_text=_("After so many it has to answer without tools."),
    )
    auto_approve_system_runs = models.BooleanField(
        _("approve by itself what the system runs"),
        default=False,
        help_text=_('Runs with triggered_by="system" wait for nobody\'s approval of a tool call.'),
    )
    short_term_memory = models.BooleanField(
        _("short-term memory"), default=False, help_text=_("Remember what was said before in a session.")
    )
    short_term_memory_max_messages = models.PositiveIntegerField(
        _("remembered messages"),
        default=20,
        validators=within(*_RANGES["short_term_memory_max_messages"]),
        help_text=_("Pairs of user and assistant that are sent again."),
    )
    is_public_api = models.BooleanField(
        _("available over HTTP"),
        default=False,
        help_text=_(
            "Let users of your site call this agent through the HTTP API. They see its answers and its tool calls."
        ),
    )
    is_enabled = models.BooleanField(_("enabled"), default=True)

    class Meta(BudgetedModel.Meta):
        abstract = False
        verbose_name = _("agent")
        verbose_name_plural = _("agents")
        ordering = ["name"]
        constraints = [
            *range_constraints("agent", _RANGES),
            choice_constraint("agent", "output_schema", ("text", "json", "markdown")),
        ]

    RANGES = _RANGES

    def __str__(self) -> str:
        return self.name

    def clean(self) -> None:
        problems: dict[str, Any] = {}
        for field, wanted in (("system_prompt", Prompt.Type.SYSTEM), ("user_prompt", Prompt.Type.USER)):
            prompt = getattr(self, field)
            if prompt is not None and prompt.type != wanted:
                problems[field] = _("Choose a prompt of the other type.")
        if self.provider_id and not self.model and not self.provider.default_model:
            problems["model"] = _("Name a model here, or a default model on the provider.")
        if self.output_json_schema is not None:
            from ..output import json_schema

            error = json_schema.problem_of(self.output_json_schema)
            if error:
                problems["output_json_schema"] = error
        if problems:
            raise ValidationError(problems)
        for note in (self.strictness_note(), self.unused_schema_note()):
            if note:
                logger.warning("Agent %s: %s", self.name, note)

    def model_notes(self) -> list[str]:
        """Warnings about the agent's model and its fallbacks, where their providers do not allow them."""
        targets = [(self.provider, self.model), *((each.provider, each.model) for each in self.fallbacks.all())]
        notes = (provider.note_on_model(model or provider.default_model) for provider, model in targets)
        return [note for note in notes if note]

    def strictness_note(self) -> str:
        """Why the vendor cannot be made to answer by the schema alone; "" where it can, or there is none."""
        if self.output_schema != self.OutputSchema.JSON or not isinstance(self.output_json_schema, dict):
            return ""
        from ..output import strict

        reason = strict.reason_against(self.output_json_schema)
        return "" if reason is None else str(_STRICTNESS) % {"reason": reason}

    def unused_schema_note(self) -> str:
        """That the JSON schema has no effect; "" where it has, or there is none."""
        is_unused = self.output_json_schema is not None and self.output_schema != self.OutputSchema.JSON
        return str(_UNUSED_SCHEMA) if is_unused else ""


class Fallback(ValidatedModel):
    """A model that is asked where the agent's own cannot answer; by ``position``, the lowest first."""

    agent = models.ForeignKey(
        AgentConfig, on_delete=models.CASCADE, related_name="fallbacks", verbose_name=_("agent")
    )
    position = models.PositiveSmallIntegerField(
        _("position"), default=1, validators=within(*_FALLBACK_RANGES["position"])
    )
    provider = models.ForeignKey(
        Provider, on_delete=models.PROTECT, related_name="fallback_for", verbose_name=_("provider")
    )
    model = models.CharField(
        _("model"), max_length=200, blank=True, help_text=_("Empty: the provider's default model.")
    )

    class Meta:
        verbose_name = _("fallback")
        verbose_name_plural = _("fallbacks")
        ordering = ["position", "id"]
        constraints = range_constraints("fallback", _FALLBACK_RANGES)

    RANGES = _FALLBACK_RANGES

    def __str__(self) -> str:
        return f"{self.agent}: {self.provider} {self.model}".rstrip()

    def clean(self) -> None:
        if self.provider_id and not self.model and not self.provider.default_model:
            raise ValidationError({"model": _("Name a model here, or a default model on the provider.")})
