from __future__ import annotations

import logging
from typing import Any

from django.core.exceptions import ValidationError
from django.core.validators import RegexValidator
from django.db import models
from django.utils.translation import gettext_lazy as _

from .. import limits
from ..encryption.fields import OrderedJSONField
from .budgeted import BUDGET_RANGES, BudgetedModel
from .prompt import Prompt
from .provider import Provider
from .tool import Tool
from .validated import Ranges, ValidatedModel, choice_constraint, range_constraints

logger = logging.getLogger("zango_ai.agent")

_NOT_STRICT = _(
    "The vendor cannot enforce the JSON schema, because %(reason)s. Answers are still checked against the schema."
)
_UNUSED_SCHEMA = _("The JSON schema has no effect. Set the output format to JSON to check answers against it.")
_NO_MODEL = _("Enter a model here, or a default model on the provider.")

_RANGES: Ranges = {
    **BUDGET_RANGES,
    "temperature": (0, 2),
    "max_tokens": (1, limits.MAX_TOKENS),
    "timeout_seconds": (1, limits.MAX_TIMEOUT_S),
    "output_retries": (0, limits.MAX_OUTPUT_RETRIES),
    "max_tool_rounds": (0, limits.MAX_TOOL_ROUNDS),
    "short_term_memory_max_messages": (0, limits.MAX_REMEMBERED_TURNS),
}
_PROMPT_TYPES = {"system_prompt": Prompt.Type.SYSTEM, "user_prompt": Prompt.Type.USER}
_FALLBACK_RANGES: Ranges = {"position": (0, limits.MAX_POSITION)}


class AgentConfig(BudgetedModel):
    """An agent's configuration: model, prompts, output format, tools, memory and limits."""

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
                _("Use only letters, digits, hyphens and underscores. Start with a letter or a digit."),
            )
        ],
        help_text=_("Code calls the agent by this name, for example get_agent('patient-summary')."),
    )
    description = models.TextField(
        _("description"), blank=True, help_text=_("For your team. It is not sent to the model.")
    )
    provider = models.ForeignKey(
        Provider, on_delete=models.PROTECT, related_name="agents", verbose_name=_("provider")
    )
    model = models.CharField(
        _("model"), max_length=200, blank=True, help_text=_("Leave empty to use the provider's default model.")
    )
    system_prompt = models.ForeignKey(
        Prompt,
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="+",
        limit_choices_to={"type": Prompt.Type.SYSTEM},
        verbose_name=_("system prompt"),
        help_text=_("Instructions for every request, for example the agent's role and tone."),
    )
    user_prompt = models.ForeignKey(
        Prompt,
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="+",
        limit_choices_to={"type": Prompt.Type.USER},
        verbose_name=_("user prompt"),
        help_text=_("Template for the question. Code fills in its placeholders with variables."),
    )
    temperature = models.FloatField(
        _("temperature"),
        default=0.7,
        help_text=_("0 gives the most predictable answers, 2 the most varied. Default: 0.7."),
    )
    max_tokens = models.PositiveIntegerField(
        _("max tokens"),
        default=2000,
        help_text=_(
            "Maximum length of one answer; longer answers are cut off. 1,000 tokens are about 750 English words. "
            "Default: 2000."
        ),
    )
    timeout_seconds = models.PositiveIntegerField(
        _("timeout (seconds)"),
        default=30,
        help_text=_("How long to wait for one answer of the model, retries included. Default: 30."),
    )
    output_schema = models.CharField(
        _("output format"),
        max_length=10,
        choices=OutputSchema,
        default=OutputSchema.TEXT,
        help_text=_("With JSON, an answer that is not valid JSON makes the run fail."),
    )
    output_json_schema = OrderedJSONField(
        _("JSON schema"),
        null=True,
        blank=True,
        help_text=_("JSON answers must match this schema (draft 2020-12). Leave empty to accept any valid JSON."),
    )
    output_retries = models.PositiveSmallIntegerField(
        _("output retries"),
        default=0,
        help_text=_(
            "How many times to ask the model to fix invalid JSON. Each retry is a separate, billed call. "
            "Default: 0."
        ),
    )
    tools = models.ManyToManyField(
        Tool,
        blank=True,
        related_name="agents",
        verbose_name=_("tools"),
        help_text=_("The agent can call only the tools that you choose here."),
    )
    max_tool_rounds = models.PositiveSmallIntegerField(
        _("max tool rounds"),
        default=10,
        help_text=_("After this many rounds of tool calls, the agent must answer without tools. Default: 10."),
    )
    auto_approve_system_runs = models.BooleanField(
        _("auto-approve tool calls in system runs"),
        default=False,
        help_text=_(
            'Runs that code starts with triggered_by="system" call tools without waiting for a person\'s approval.'
        ),
    )
    approval_by_another_person = models.BooleanField(
        _("approval by another person"),
        default=False,
        help_text=_(
            "The person who asked the agent cannot decide about its tool calls: somebody else has to approve or "
            "deny them."
        ),
    )
    short_term_memory = models.BooleanField(
        _("short-term memory"),
        default=False,
        help_text=_("Send the earlier messages of the same conversation with each request."),
    )
    short_term_memory_max_messages = models.PositiveIntegerField(
        _("messages to remember"),
        default=20,
        help_text=_(
            "How many past exchanges (user and assistant) to send with each request. More exchanges cost more. "
            "Default: 20."
        ),
    )
    is_public_api = models.BooleanField(
        _("available over HTTP"),
        default=False,
        help_text=_(
            "Let users of your site call this agent through the HTTP API. They see its answers and tool calls."
        ),
    )
    is_enabled = models.BooleanField(
        _("enabled"),
        default=True,
        help_text=_("Turn off to stop the agent at once. Runs in progress make no further calls."),
    )

    class Meta(BudgetedModel.Meta):
        abstract = False
        verbose_name = _("agent")
        verbose_name_plural = _("agents")
        ordering = ["name"]
        permissions = [("run_agent", _("Can run agents in the admin"))]
        constraints = [
            *range_constraints("agent", _RANGES),
            choice_constraint("agent", "output_schema", ("text", "json", "markdown")),
        ]

    RANGES = _RANGES

    def __str__(self) -> str:
        return self.name

    def clean(self) -> None:
        errors: dict[str, Any] = {}
        if self.provider_id and not self.model and not self.provider.default_model:
            errors["model"] = _NO_MODEL
        if self.output_json_schema is not None:
            from ..output import json_schema

            problem = json_schema.problem_of(self.output_json_schema)
            if problem:
                errors["output_json_schema"] = problem
        if errors:
            raise ValidationError(errors)
        for warning in (self.strict_schema_warning(), self.unused_schema_warning()):
            if warning:
                logger.warning("Agent %s: %s", self.name, warning)

    def _error(self, field: Any, value: Any) -> Any:
        if field.name == "name":
            try:
                field.run_validators(value)
            except ValidationError as exc:
                return exc
        wanted = _PROMPT_TYPES.get(field.name)
        if wanted is not None and Prompt.objects.filter(pk=value).exclude(type=wanted).exists():
            return _("Choose a prompt of type “%(type)s”.") % {"type": wanted.label}
        return super()._error(field, value)

    def model_warnings(self) -> list[str]:
        """Warnings about models of the agent and its fallbacks that their providers do not allow."""
        targets = [
            (self.provider, self.model),
            *((fallback.provider, fallback.model) for fallback in self.fallbacks.all()),
        ]
        warnings = (provider.model_warning(model or provider.default_model) for provider, model in targets)
        return [warning for warning in warnings if warning]

    def strict_schema_warning(self) -> str:
        """A warning that the vendor cannot enforce the JSON schema, with the reason; "" if it can."""
        if self.output_schema != self.OutputSchema.JSON or not isinstance(self.output_json_schema, dict):
            return ""
        from ..output import strict_mode

        reason = strict_mode.reason_against(self.output_json_schema)
        return "" if reason is None else str(_NOT_STRICT) % {"reason": reason}

    def unused_schema_warning(self) -> str:
        """A warning that the JSON schema has no effect; "" if it has one or there is none."""
        is_unused = self.output_json_schema is not None and self.output_schema != self.OutputSchema.JSON
        return str(_UNUSED_SCHEMA) if is_unused else ""


class Fallback(ValidatedModel):
    """A model to try when the agent's own model fails. The lowest ``position`` is tried first."""

    agent = models.ForeignKey(
        AgentConfig, on_delete=models.CASCADE, related_name="fallbacks", verbose_name=_("agent")
    )
    position = models.PositiveSmallIntegerField(
        _("position"), default=1, help_text=_("The lowest position is tried first.")
    )
    provider = models.ForeignKey(
        Provider, on_delete=models.PROTECT, related_name="fallback_for", verbose_name=_("provider")
    )
    model = models.CharField(
        _("model"), max_length=200, blank=True, help_text=_("Leave empty to use the provider's default model.")
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
            raise ValidationError({"model": _NO_MODEL})
