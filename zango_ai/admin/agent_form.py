"""The form of an agent: its model, its tools by section, and its JSON schema."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib.admin.widgets import AdminRadioSelect
from django.core.exceptions import ValidationError
from django.forms.fields import InvalidJSONInput
from django.utils.translation import gettext_lazy as _

from ..models import AgentConfig, Tool
from ..output import json_limits

_SCHEMA_EXAMPLE = (
    '{\n  "type": "object",\n  "properties": {"summary": {"type": "string"}},\n  "required": ["summary"]\n}'
)


_SWITCHES = (
    "is_enabled",
    "is_public_api",
    "short_term_memory",
    "auto_approve_system_runs",
    "approval_by_another_person",
)


class SchemaField(forms.JSONField):
    """A JSON field that is empty if there is no schema, instead of showing ``null``."""

    def to_python(self, value: Any) -> Any:
        if _is_unreadable(value):
            raise ValidationError(_("This JSON is nested too deeply or has a number with too many digits."))
        return super().to_python(value)

    def bound_data(self, data: Any, initial: Any) -> Any:
        return InvalidJSONInput(data) if _is_unreadable(data) else super().bound_data(data, initial)

    def prepare_value(self, value: Any) -> Any:
        return "" if value is None else super().prepare_value(value)


def _is_unreadable(text: Any) -> bool:
    """Whether Python's JSON parser would raise an error that Django's field does not catch."""
    return isinstance(text, str) and not json_limits.is_within(text)


class ModelInput(forms.TextInput):
    """A text field that suggests the models of the chosen provider. JavaScript shows prices and abilities."""

    template_name = "admin/zango_ai/agentconfig/model_input.html"
    suggestions: tuple[str, ...] = ()
    """The models of the saved provider, for browsers without JavaScript."""

    def get_context(self, name: str, value: Any, attrs: Any) -> dict[str, Any]:
        context = super().get_context(name, value, attrs)
        list_id = f"{context['widget']['attrs'].get('id', name)}_suggestions"
        context["widget"]["attrs"] |= {"list": list_id, "autocomplete": "off", "spellcheck": "false"}
        return {**context, "list_id": list_id, "suggestions": self.suggestions}


class ToolsInput(forms.CheckboxSelectMultiple):
    """Check boxes for tools, by section, with what each tool may do."""

    template_name = "admin/zango_ai/agentconfig/tools.html"

    def create_option(self, name: str, value: Any, *args: Any, **kwargs: Any) -> dict[str, Any]:
        option = super().create_option(name, value, *args, **kwargs)
        option["tool"] = getattr(value, "instance", None)
        return option

    def get_context(self, name: str, value: Any, attrs: Any) -> dict[str, Any]:
        context = super().get_context(name, value, attrs)
        options = [option for _group, options, _index in context["widget"]["optgroups"] for option in options]
        context["options"] = [option for option in options if option["tool"].is_active or option["selected"]]
        return context


class AgentForm(forms.ModelForm):
    """An agent's configuration."""

    tools = forms.ModelMultipleChoiceField(
        label=_("Tools"),
        queryset=Tool.objects.order_by("section", "name"),
        required=False,
        widget=ToolsInput,
        help_text=AgentConfig._meta.get_field("tools").help_text,
    )

    class Meta:
        model = AgentConfig
        exclude: list[str] = []
        field_classes = {"output_json_schema": SchemaField}
        widgets = {
            "model": ModelInput(attrs={"class": "vTextField"}),
            **dict.fromkeys(_SWITCHES, forms.CheckboxInput(attrs={"class": "za-switch"})),
            "output_schema": AdminRadioSelect(attrs={"class": "inline za-choices"}),
            "output_json_schema": forms.Textarea(
                attrs={
                    "rows": 10,
                    "class": "vLargeTextField za-mono",
                    "spellcheck": "false",
                    "placeholder": _SCHEMA_EXAMPLE,
                }
            ),
        }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        model = self.fields.get("model")
        if model is not None and self.instance.provider_id:
            provider = self.instance.provider
            names = [row.model_id for row in provider.models.all() if row.is_enabled]
            model.widget.suggestions = tuple(names or filter(None, [provider.default_model]))
