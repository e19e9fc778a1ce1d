"""What to replay a run with: other texts of its prompts, another provider, another model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from ..configuration.overrides import Overrides
from ..models import Prompt, PromptVersion, Provider, ProviderModel
from ..types import PromptSpec
from .playground_options import DRAFT, PromptChoices

MAX_RUNS_QUEUED = 200
"""Of a batch that workers execute. ``zango_ai_replay`` takes more."""
MAX_RUNS_HERE = 10
"""Of a batch that one request executes, because there is no queue."""
_MAX_VERSIONS = 200


class ReplayForm(forms.Form):
    """The overrides of a replay. Fields that stay empty keep what was recorded."""

    system_version = forms.ChoiceField(label=_("System prompt"), required=False)
    system_draft = forms.CharField(label=_("Draft of the system prompt"), required=False, strip=False)
    user_version = forms.ChoiceField(label=_("User prompt"), required=False)
    user_draft = forms.CharField(label=_("Draft of the user prompt"), required=False, strip=False)
    provider = forms.ChoiceField(label=_("Provider"), required=False)
    model = forms.CharField(label=_("Model"), required=False, max_length=200)

    def __init__(self, names: tuple[str, str], data: Any = None, *, recorded: str = "") -> None:
        """``names``: the system prompt and the user prompt, "" for none. ``recorded``: the recorded model."""
        super().__init__(data)
        self.system, self.user = _prompts(names)
        fields: dict[str, Any] = self.fields
        for role, chosen in (("system", self.system), ("user", self.user)):
            if chosen.prompt is None:
                del fields[f"{role}_version"], fields[f"{role}_draft"]
                continue
            fields[f"{role}_version"].choices = _versions(chosen)
            fields[f"{role}_draft"].widget = forms.Textarea(attrs={"rows": 6, "class": "za-mono"})
            fields[f"{role}_draft"].initial = chosen.text("", "")
        rows = [(str(row.pk), row.name) for row in Provider.objects.filter(is_enabled=True).order_by("name")]
        fields["provider"].choices = [("", gettext("As recorded")), *rows]
        placeholder = (
            gettext("%(model)s, as recorded") % {"model": recorded} if recorded else gettext("As recorded")
        )
        fields["model"].widget.attrs |= {"list": "za-models", "autocomplete": "off", "placeholder": placeholder}
        fields["model"].help_text = _("With another provider, empty means its default model.")
        models = ProviderModel.objects.filter(is_enabled=True, provider__is_enabled=True)
        self.models = sorted(set(models.values_list("model_id", flat=True)))

    def clean_model(self) -> str:
        model = str(self.cleaned_data["model"]).strip()
        if model and not model.isprintable():
            raise ValidationError(_("Use printable characters only."))
        return model

    def overrides(self) -> Overrides:
        """Call it on a valid form."""
        cleaned = self.cleaned_data
        return Overrides(
            model=cleaned["model"] or None,
            provider_id=int(cleaned["provider"]) if cleaned["provider"] else None,
            system_prompt=self._prompt("system", self.system),
            user_prompt=self._prompt("user", self.user),
        )

    def _prompt(self, role: str, choices: PromptChoices) -> PromptSpec | None:
        draft = self.cleaned_data.get(f"{role}_draft", "").replace("\r\n", "\n")
        return choices.override(self.cleaned_data.get(f"{role}_version", ""), draft)


class BatchForm(ReplayForm):
    """The same for the last runs of an agent."""

    count = forms.IntegerField(label=_("Runs"), min_value=1, initial=5)
    field_order = ("count",)

    def __init__(self, names: tuple[str, str], data: Any = None, *, max_runs: int) -> None:
        super().__init__(names, data)
        count: Any = self.fields["count"]
        count.max_value = count.widget.attrs["max"] = max_runs
        count.validators.append(MaxValueValidator(max_runs))
        count.help_text = gettext("The last ones, %(number)s at most.") % {"number": max_runs}


def _prompts(names: tuple[str, str]) -> Sequence[PromptChoices]:
    prompts = {row.name: row for row in Prompt.objects.filter(name__in=names).select_related("active_version")}
    rows = PromptVersion.objects.filter(prompt__name__in=names).order_by("-version_number")[: 2 * _MAX_VERSIONS]
    versions = list(rows)
    return [_choices(prompts.get(name), versions) for name in names]


def _choices(prompt: Prompt | None, versions: Sequence[PromptVersion]) -> PromptChoices:
    own = (version for version in versions if prompt is not None and version.prompt_id == prompt.pk)
    return PromptChoices(prompt, tuple(own)[:_MAX_VERSIONS])


def _versions(choices: PromptChoices) -> list[tuple[str, str]]:
    rows = []
    for version in choices.versions:
        note = gettext("active") if version == choices.active else version.change_description
        rows.append((str(version.pk), f"v{version.version_number} {note}".strip()))
    return [("", gettext("As recorded")), *rows, (DRAFT, gettext("Draft, not saved"))]
