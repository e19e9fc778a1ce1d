from __future__ import annotations

import json
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.db.models import Count, QuerySet
from django.http import HttpRequest
from django.utils.decorators import method_decorator
from django.utils.translation import gettext_lazy as _
from django.views.decorators.debug import sensitive_post_parameters

from ..encryption.cipher import Undecryptable
from ..encryption.credentials import Credentials
from ..exceptions import ZangoAIError
from ..models import Provider, ProviderModel, Spend
from ..providers.kinds import KINDS, CredentialSlot, Kind
from .access import TenantOnly
from .panel import PanelAdmin
from .spending import ShowsSpend

LIMITS = [*Provider.BUDGET_FIELDS, "allow_unpriced", "rate_limit_rpm", "rate_limit_tpm"]
SLOTS: dict[str, CredentialSlot] = {slot.name: slot for kind in KINDS.values() for slot in kind.slots}
"""Every credential of every kind, by name."""


class ProviderForm(forms.ModelForm):
    """A provider with one field per credential. Secrets can be entered here, but are never shown."""

    kind = forms.ChoiceField(
        label=_("Kind"),
        choices=[(kind.name, kind.label) for kind in KINDS.values()],
        help_text=_("The vendor, or the kind of server, that hosts the models."),
    )

    class Meta:
        model = Provider
        fields = ["name", "description", "kind", "default_model", "max_retries", "is_enabled", *LIMITS]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        slots = {kind.name: [slot.name for slot in kind.slots] for kind in KINDS.values()}
        self.fields["kind"].widget.attrs["data-slots"] = json.dumps(slots)
        self._saved = self._read_saved()
        self._saved_kind = self.instance.kind if self.instance.pk else ""
        for slot in SLOTS.values():
            self.fields[slot.name] = self._field(slot)

    def _read_saved(self) -> dict[str, str]:
        try:
            saved: dict[str, str] = self.instance.credentials.reveal()
            return saved
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
            _("Saved (%(count)d characters). Leave empty to keep it.") % {"count": len(saved)}
            if saved
            else _("Not set.")
        )
        if self.is_bound and self.data.get(self.add_prefix(slot.name)):
            # A submitted form is shown again only if it was rejected.
            state = _("Enter it again: the form was not saved, and secrets are never sent back to the browser.")
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
            # Set before the model's clean(), which checks whether the credentials are complete.
            self.instance.credentials = Credentials(self._entered(cleaned, kind))
        return cleaned

    def _entered(self, cleaned: dict[str, Any], kind: Kind) -> dict[str, str]:
        """The entered credentials. An empty secret keeps its saved value unless the kind or address changes."""
        typed = {slot.name: str(cleaned.get(slot.name) or "").strip() for slot in kind.slots}
        entered = {name: value for name, value in typed.items() if value}
        if self._goes_elsewhere(entered, kind):
            for slot in kind.slots:
                if slot.is_secret and self._saved.get(slot.name) and not typed[slot.name]:
                    text = _(
                        "Enter it again. A saved secret is not sent to another kind of provider or another address."
                    )
                    self.add_error(slot.name, text)
            return entered
        kept = {
            slot.name: self._saved[slot.name] for slot in kind.slots if slot.is_secret and slot.name in self._saved
        }
        return {**kept, **entered}

    def _goes_elsewhere(self, entered: dict[str, str], kind: Kind) -> bool:
        """Whether the kind or address changes. Staff must not be able to send the saved key to another server."""
        before = KINDS.get(self._saved_kind)
        if before is None:
            return False
        places = []
        for its_kind, values in ((before, self._saved), (kind, entered)):
            try:
                places.append((its_kind.name, its_kind.base_url(values)))
            except KeyError:  # no region yet; the model's clean() reports it
                places.append((its_kind.name, ""))
        return places[0] != places[1]


def _help(name: str) -> str:
    """The help text of a credential. Kinds with the same text are listed together."""
    labels_by_text: dict[str, list[str]] = {}
    for kind in KINDS.values():
        for slot in kind.slots:
            if slot.name == name and slot.help_text:
                labels_by_text.setdefault(slot.help_text, []).append(kind.label)
    return " ".join(f"{', '.join(labels)}: {text}" for text, labels in labels_by_text.items())


class ProviderModelInline(TenantOnly, admin.TabularInline):
    model = ProviderModel
    extra = 0
    fields = (
        *("model_id", "is_enabled", "vendors_list", "input_cost_per_mtok", "output_cost_per_mtok"),
        *("rate_limit_rpm", "rate_limit_tpm"),
        *("accepts_schema", "accepts_tools", "accepts_images", "accepts_documents", "display_name"),
    )
    readonly_fields = ("vendors_list",)
    verbose_name_plural = _("Allowed models (leave empty to allow all)")

    @admin.display(description=_("vendor's list"))
    def vendors_list(self, row: ProviderModel) -> str:
        labels = {True: _("listed"), False: _("not listed"), None: _("not fetched")}
        return str(labels[row.is_listed])


@admin.register(Provider)
class ProviderAdmin(ShowsSpend, PanelAdmin, admin.ModelAdmin):
    spend_owner = Spend.Owner.PROVIDER
    panel_lead = _("Accounts with model vendors and servers of your own, with their budgets and limits.")
    form = ProviderForm
    list_display = ["name", "kind_label", "default_model", "agents", "this_month", "connection", "is_enabled"]
    readonly_fields = ("this_month",)
    actions = ["validate_connections", "fetch_models"]
    list_filter = ["is_enabled"]
    search_fields = ["name", "description"]
    inlines = [ProviderModelInline]
    fieldsets = [
        (None, {"fields": [name for name in ProviderForm.Meta.fields if name not in LIMITS]}),
        (_("Credentials"), {"fields": list(SLOTS)}),
        (_("Limits"), {"fields": ["this_month", *LIMITS]}),
    ]

    @method_decorator(sensitive_post_parameters())
    def changeform_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        return super().changeform_view(request, *args, **kwargs)

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        super().save_related(request, form, formsets, change)
        provider = form.instance
        for warning in filter(None, map(provider.model_warning, sorted(provider.models_in_use()))):
            messages.warning(request, warning)

    class Media:
        js = ["zango_ai/provider.js"]

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        # The form adds the credential fields itself; the model does not have them.
        kwargs["fields"] = ProviderForm.Meta.fields
        return super().get_form(request, obj, change, **kwargs)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Provider]:
        rows: QuerySet[Provider] = super().get_queryset(request)
        return rows.annotate(agents_count=Count("agents"))

    @admin.action(description=_("Test the connection of selected providers"), permissions=["change"])
    def validate_connections(self, request: HttpRequest, providers: QuerySet[Provider]) -> None:
        for provider in providers:
            if provider.validate_connection():
                messages.success(request, _("Provider %(name)s: the connection works.") % {"name": provider})
            else:
                messages.error(request, provider.validation_error)

    @admin.action(description=_("Fetch the models of selected providers"), permissions=["change"])
    def fetch_models(self, request: HttpRequest, providers: QuerySet[Provider]) -> None:
        for provider in providers:
            try:
                new = provider.fetch_models()
            except ZangoAIError as exc:
                messages.error(request, str(exc))
                continue
            text = _("Provider %(name)s: new models added: %(count)d.") % {"name": provider, "count": len(new)}
            messages.success(request, text)
            unlisted = ", ".join(provider.unlisted_models())
            if unlisted:
                text = _("Not in the vendor's list, but still allowed: %(models)s.") % {"models": unlisted}
                messages.warning(request, text)

    @admin.display(description=_("connection"))
    def connection(self, provider: Provider) -> str:
        if provider.validated_at is None:
            return str(_("not tested"))
        return provider.validation_error or str(_("works"))

    @admin.display(description=_("kind"), ordering="kind")
    def kind_label(self, provider: Provider) -> str:
        kind = KINDS.get(provider.kind)
        return kind.label if kind else provider.kind

    @admin.display(description=_("agents"), ordering="agents_count")
    def agents(self, provider: Any) -> int:
        return int(provider.agents_count)
