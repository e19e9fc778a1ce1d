"""The forms of the guided first set-up: the few fields that a newcomer needs."""

from __future__ import annotations

from typing import Any, ClassVar

from django import forms
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from ..models import AgentConfig, Prompt, Provider
from .agent_form import AgentForm
from .money_field import MoneyField
from .prompt_form import PromptForm
from .provider_form import SLOTS, CardsInput, ProviderForm

_EXAMPLE = _(
    "Write a short, friendly reminder to {{ patient }} about the appointment on {{ date }}. Use simple words, and "
    "do not mention the reason for the visit."
)


class SetupProviderForm(ProviderForm):
    class Meta(ProviderForm.Meta):
        fields = ["name", "kind", "default_model", "monthly_budget_usd"]
        field_classes = {"monthly_budget_usd": MoneyField}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.order_fields(["kind", *SLOTS, "default_model", "name", "monthly_budget_usd"])
        self.fields["default_model"].required = True
        self.fields["default_model"].help_text = _("Fetch the models below if you do not know their names.")
        self.fields["name"].help_text = _("How your team calls this account, for example “Clinic account”.")


class PromptTypeInput(CardsInput):
    hints: ClassVar = {
        "user": _("A task. Each run fills in the placeholders."),
        "system": _("Who the agent is and what it may do. People write the messages."),
    }


class SetupPromptForm(PromptForm):
    type = forms.ChoiceField(
        label=_("Type"),
        choices=[(value, Prompt.Type(value).label) for value in ("user", "system")],
        initial="user",
        widget=PromptTypeInput,
    )

    class Meta(PromptForm.Meta):
        fields = ["type", "name"]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        del self.fields["change_description"]
        self.order_fields(["type", "content", "name"])
        content = self.fields["content"]
        content.widget.attrs["rows"] = 8
        content.initial = content.initial or (None if self.instance.pk else _EXAMPLE)
        content.help_text = _("Write what changes from run to run as {{ name }}, with a name of your own.")
        self.fields["name"].help_text = _("For your team, for example “Appointment reminder”.")


class SetupAgentForm(AgentForm):
    tools = None  # type: ignore[assignment]

    class Meta(AgentForm.Meta):
        exclude = None  # type: ignore[assignment]
        fields = ["name", "description", "model"]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["description"].widget.attrs["rows"] = 2
        default = self.instance.provider.default_model
        text = gettext("Leave empty for the provider's default, %(model)s.") % {"model": default}
        self.fields["model"].help_text = text


FORMS: dict[str, type[forms.ModelForm]] = {
    "provider": SetupProviderForm,
    "prompt": SetupPromptForm,
    "agent": SetupAgentForm,
}
MODELS: dict[str, type[Provider] | type[Prompt] | type[AgentConfig]] = {
    "provider": Provider,
    "prompt": Prompt,
    "agent": AgentConfig,
}
