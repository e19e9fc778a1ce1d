from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import Count, QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from ..fields import Credentials, Undecryptable
from ..models import Provider, ProviderModel
from ..providers.kinds import KINDS, CredentialSlot
from .access import TenantOnly

SLOTS: dict[str, CredentialSlot] = {slot.name: slot for kind in KINDS.values() for slot in kind.slots}
"""Every credential that any kind has; which of them are needed depends on the kind."""


class ProviderForm(forms.ModelForm):
    """A provider with a field for each of its credentials. Secrets can be written here, and not read."""

    kind = forms.ChoiceField(label=_("Kind"), choices=[(kind.name, kind.label) for kind in KINDS.values()])

    class Meta:
        model = Provider
        fields = ["name", "description", "kind", "default_model", "is_enabled"]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._saved = self._read_saved()
        for slot in SLOTS.values():
            self.fields[slot.name] = self._field(slot)

    def _read_saved(self) -> dict[str, str]:
        try:
            return dict(self.instance.credentials)
        except Undecryptable:
            return {}

    def _field(self, slot: CredentialSlot) -> forms.Field:
        saved = str(self._saved.get(slot.name) or "")
        if not slot.is_secret:
            return forms.CharField(
                label=slot.label,
                required=False,
                initial=saved,
                help_text=_help(slot.name),
                max_length=2000,
                widget=forms.TextInput(attrs={"class": "vLargeTextField"}),
            )
        state = (
            _("Saved, %(count)d characters. Leave empty to keep it.") % {"count": len(saved)}
            if saved
            else _("Not set.")
        )
        return forms.CharField(
            label=slot.label,
            required=False,
            strip=True,
            widget=forms.PasswordInput(
                render_value=False, attrs={"autocomplete": "new-password", "class": "vTextField"}
            ),
            help_text=state,
        )

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        kind = KINDS.get(cleaned.get("kind", ""))
        if kind is not None:
            # Before the model's own clean(), which asks whether the credentials are complete.
            self.instance.credentials = Credentials(self._entered(cleaned))
        return cleaned

    def _entered(self, cleaned: dict[str, Any]) -> dict[str, str]:
        """What was typed, over what is saved: an empty secret is kept, an empty address is taken out."""
        entered = dict(self._saved)
        for slot in SLOTS.values():
            value = str(cleaned.get(slot.name) or "").strip()
            if value:
                entered[slot.name] = value
            elif not slot.is_secret:
                entered.pop(slot.name, None)
        return entered


def _help(name: str) -> str:
    """What each kind of provider says about the slot."""
    return " ".join(
        f"{kind.label}: {slot.help_text}"
        for kind in KINDS.values()
        for slot in kind.slots
        if slot.name == name and slot.help_text
    )


class ProviderModelInline(TenantOnly, admin.TabularInline):
    model = ProviderModel
    extra = 0
    fields = ["model_id", "display_name", "input_cost_per_mtok", "output_cost_per_mtok", "is_enabled"]
    verbose_name_plural = _("Models (none listed: any model may be used)")


@admin.register(Provider)
class ProviderAdmin(TenantOnly, admin.ModelAdmin):
    form = ProviderForm
    list_display = ["name", "kind_label", "default_model", "agents", "is_enabled"]
    list_filter = ["is_enabled"]
    search_fields = ["name", "description"]
    inlines = [ProviderModelInline]
    fieldsets = [
        (None, {"fields": ["name", "description", "kind", "default_model", "is_enabled"]}),
        (_("Credentials"), {"fields": list(SLOTS)}),
    ]

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        # The fields of the credentials are the form's own, and unknown to the model.
        kwargs["fields"] = ProviderForm.Meta.fields
        return super().get_form(request, obj, change, **kwargs)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Provider]:
        rows: QuerySet[Provider] = super().get_queryset(request)
        return rows.annotate(agents_count=Count("agents"))

    @admin.display(description=_("kind"), ordering="kind")
    def kind_label(self, provider: Provider) -> str:
        kind = KINDS.get(provider.kind)
        return kind.label if kind else provider.kind

    @admin.display(description=_("agents"), ordering="agents_count")
    def agents(self, provider: Any) -> int:
        return int(provider.agents_count)
