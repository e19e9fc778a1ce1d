"""The form of a provider: one field per credential. Secrets are entered here, and never shown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar
from urllib.parse import urlsplit

from django import forms
from django.utils.crypto import salted_hmac
from django.utils.html import format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from ..encryption.cipher import Undecryptable
from ..encryption.credentials import Credentials
from ..models import Provider, ProviderModel
from ..providers.kinds import KINDS, CredentialSlot, Kind

LIMITS = [*Provider.BUDGET_FIELDS, "allow_unpriced", "rate_limit_rpm", "rate_limit_tpm"]
SLOTS: dict[str, CredentialSlot] = {slot.name: slot for kind in KINDS.values() for slot in kind.slots}
"""Every credential of every kind, by name."""
CONNECTION_FIELDS = ("kind", "default_model", *SLOTS)
"""What a test of the connection uses."""
MODEL_NAMES = "add_models"
"""The check boxes of fetched models: names of ``ProviderModel`` rows to add when the provider is saved."""
_MAX_MODELS = 500


class CardsInput(forms.RadioSelect):
    """Choices as cards, each with a hint."""

    template_name = "admin/zango_ai/includes/cards_input.html"
    hints: ClassVar[Mapping[str, Any]] = {}

    def create_option(self, name: str, value: Any, *args: Any, **kwargs: Any) -> dict[str, Any]:
        option = super().create_option(name, value, *args, **kwargs)
        option["hint"] = self.hints.get(str(value), "")
        return option


def _place(kind: Kind) -> Any:
    """Where the models of this kind run, in a few words."""
    if kind.is_self_hosted:
        return _("a server of your own")
    host = urlsplit(kind.api_base).hostname or ""
    return ".".join(host.split(".")[-2:]) or _("your own resource")


class KindInput(CardsInput):
    """The kinds of provider. CSS hides the credentials of the other kinds."""

    hints: ClassVar = {kind.name: _place(kind) for kind in KINDS.values()}


class SecretInput(forms.PasswordInput):
    """A field for a secret. A saved one is not sent to the browser."""

    template_name = "admin/zango_ai/provider/secret_input.html"
    is_saved = False

    def get_context(self, name: str, value: Any, attrs: Any) -> dict[str, Any]:
        return {**super().get_context(name, value, attrs), "is_saved": self.is_saved}


class ProviderForm(forms.ModelForm):
    """A provider with one field per credential."""

    kind = forms.ChoiceField(
        label=_("Kind"),
        choices=[(kind.name, _(kind.label)) for kind in KINDS.values()],
        widget=KindInput,
        help_text=_("The vendor, or the kind of server, that hosts the models."),
    )

    class Meta:
        model = Provider
        fields = ["name", "description", "kind", "default_model", "max_retries", "is_enabled", *LIMITS]
        widgets = {
            "is_enabled": forms.CheckboxInput(attrs={"class": "za-switch"}),
            "allow_unpriced": forms.CheckboxInput(attrs={"class": "za-switch"}),
            "description": forms.Textarea(attrs={"rows": 2, "class": "vLargeTextField"}),
        }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._saved = self._read_saved()
        self._saved_kind = self.instance.kind if self.instance.pk else ""
        if "kind" in self.fields and not self._saved_kind:
            self.fields["kind"].initial = next(iter(KINDS))
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
                label=_(slot.label),
                required=False,
                initial=saved,
                help_text=_help(slot.name),
                max_length=2000,
                widget=forms.TextInput(attrs={"class": "vLargeTextField", "spellcheck": "false"}),
            )
        widget = SecretInput(render_value=False, attrs={"autocomplete": "new-password", "class": "vTextField"})
        widget.is_saved = bool(saved)
        state = (
            _("Leave empty to keep the saved one.") if saved else _("Stored encrypted. Nobody can read it again.")
        )
        if self.is_bound and self.data.get(self.add_prefix(slot.name)):
            # A submitted form is shown again only if it was rejected.
            widget.is_saved = False
            state = _("Enter it again: the form was not saved, and secrets are never sent back to the browser.")
        return forms.CharField(label=_(slot.label), required=False, strip=True, widget=widget, help_text=state)

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

    @property
    def connection_errors(self) -> list[str]:
        """What must be corrected before the connection can be tested. The name and the limits do not matter."""
        shown = [str(text) for name in CONNECTION_FIELDS for text in self.errors.get(name, ())]
        return [*map(str, self.non_field_errors()), *shown]

    def models_to_add(self) -> list[str]:
        """The fetched models that were ticked, without those that the provider has."""
        names = self.data.getlist(MODEL_NAMES)[:_MAX_MODELS] if hasattr(self.data, "getlist") else []
        longest = ProviderModel._meta.get_field("model_id").max_length or 0
        usable = {name for name in names if name.isprintable() and 0 < len(name) <= longest}
        if usable and self.instance.pk:
            usable -= set(self.instance.models.values_list("model_id", flat=True))
        return sorted(usable)


def fingerprint(provider: Provider) -> str:
    """Tells whether a connection was tested with these credentials and this model. It cannot be turned back."""
    parts = repr((provider.kind, sorted(provider.credentials.reveal().items()), provider.default_model))
    return salted_hmac("zango_ai.tested", parts, algorithm="sha256").hexdigest()


def _help(name: str) -> SafeString:
    """The help texts of a credential, each with the kinds that it is for. CSS hides those of the other kinds."""
    kinds_by_text: dict[str, list[Kind]] = {}
    for kind in KINDS.values():
        for slot in kind.slots:
            if slot.name == name and slot.help_text:
                text = gettext(slot.help_text) % {"example": slot.example}
                kinds_by_text.setdefault(text, []).append(kind)
    parts = [
        (" ".join(kind.name for kind in kinds), ", ".join(gettext(kind.label) for kind in kinds), text)
        for text, kinds in kinds_by_text.items()
    ]
    return format_html_join(" ", '<span data-za-kinds="{}"><b>{}: </b><span>{}</span></span>', parts)
