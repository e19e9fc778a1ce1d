"""The form of a prompt: its text is edited here, and saved as a version."""

from __future__ import annotations

from typing import Any

from django import forms
from django.utils.translation import gettext_lazy as _

from ..models import Prompt
from ..prompts import rendering


class PromptForm(forms.ModelForm):
    """A prompt with the text of its newest draft, or of its active version. A change is saved as a new version."""

    content = forms.CharField(
        label=_("Text"),
        strip=False,
        widget=forms.Textarea(attrs={"rows": 16, "class": "vLargeTextField", "spellcheck": "true"}),
        help_text=_("Write placeholders as {{ name }}. A change is saved as a new draft version."),
    )
    change_description = forms.CharField(
        label=_("What changed"),
        required=False,
        max_length=500,
        widget=forms.TextInput(attrs={"class": "vTextField"}),
        help_text=_("For your team, for example “Shorter greeting”."),
    )
    base_version = forms.IntegerField(label="", required=False, widget=forms.HiddenInput)

    start_from = ""
    """The number of the version to edit. Empty: the newest."""

    class Meta:
        model = Prompt
        fields = ["name", "type", "description"]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        version = self.instance.versions.first() if self.instance.pk else None
        if version is not None and version.status != version.Status.DRAFT:
            version = self.instance.find_active_version() or version
        if self.start_from.isdecimal() and self.instance.pk:
            version = self.instance.versions.filter(version_number=int(self.start_from[:9])).first() or version
        self.fields["content"].initial = version.content if version else ""
        self.fields["base_version"].initial = version.pk if version else None

    @property
    def placeholders(self) -> list[str]:
        """Of the text that the form shows."""
        return rendering.find_placeholders(str(self["content"].value() or ""))

    def clean_content(self) -> str:
        return _normalize_line_breaks(self.cleaned_data["content"])

    @property
    def has_new_content(self) -> bool:
        """Whether this form changed the text. Changes by other users do not count."""
        base = self.instance.versions.filter(pk=self.cleaned_data.get("base_version")).first()
        return base is None or bool(self.cleaned_data["content"] != _normalize_line_breaks(base.content))


def _normalize_line_breaks(text: str) -> str:
    """Browsers send line breaks as CR LF. They are stored and compared as LF."""
    return text.replace("\r\n", "\n")
