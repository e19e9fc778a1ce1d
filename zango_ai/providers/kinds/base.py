"""What every kind of provider has in common. A kind overrides the fields and methods in which it differs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from django.utils.translation import gettext_noop as _

from ... import argument_checks
from ...files.media_types import PDF

if TYPE_CHECKING:
    import httpx

    from ...types import Secrets


@dataclass(frozen=True, slots=True)
class CredentialSlot:
    """One entry of ``Provider.credentials``."""

    name: str
    label: str
    """In English. The admin translates it."""
    is_secret: bool = False
    is_required: bool = False
    help_text: str = ""
    """In English. ``%(example)s`` stands for ``example``."""
    example: str = ""


_OTHER_NAMES = {
    "base_url": "api_base",
    "url": "api_base",
    "endpoint": "api_base",
    "key": "api_key",
    "token": "api_key",
}
"""What other libraries call a credential."""

API_KEY = CredentialSlot("api_key", _("API key"), is_secret=True, is_required=True)
OPTIONAL_API_KEY = CredentialSlot("api_key", _("API key"), is_secret=True)
API_BASE = CredentialSlot("api_base", _("API base URL"), help_text=_("leave empty for the vendor's own address."))


def required_api_base(example: str) -> CredentialSlot:
    """The slot of a kind that has no address of its own."""
    return CredentialSlot(
        "api_base",
        _("API base URL"),
        is_required=True,
        help_text=_("required, for example %(example)s."),
        example=example,
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class Kind:
    """A vendor's protocol: its credentials, its address, its client, and what it can do."""

    name: str
    label: str
    slots: tuple[CredentialSlot, ...]
    litellm_prefix: str
    """The prefix of model names in litellm, which tells it the vendor and the API."""
    api_base: str = ""
    """The vendor's own address. ``{name}`` stands for the value of another credential."""
    price_lists: tuple[str, ...] = ()
    """The vendors whose entries of litellm's price list apply. Empty: only ``ProviderModel`` rows have prices."""
    models_path: str = ""
    """Path of the list of models below the API base. Empty: the vendor has no list that an API key can read."""
    model_list_params: Mapping[str, str] = field(default_factory=dict)
    """Query parameters for the list of models."""
    key_header: str = "Authorization"
    """The header of the API key in requests for the list of models."""
    document_types: tuple[str, ...] = (PDF,)
    """Media types of the documents that the vendor accepts. Every kind accepts images and text."""
    fetches_images: bool = True
    """Whether the vendor accepts an image by its URL."""
    fetches_documents: bool = False
    """Whether the vendor accepts a document by its URL."""
    is_self_hosted: bool = False
    """Whether this is a server like llama.cpp, vLLM or Ollama: no price list has its models, and it usually follows
    any JSON schema."""
    is_gateway: bool = False
    """Whether the names of models may begin with their maker's name, as in openai/gpt-oss-20b."""
    has_own_model_names: bool = False
    """Whether each account names its models itself, as Azure's deployments."""
    is_vendor_read_from_model: bool = False
    """Whether litellm calls another vendor if that vendor's name is anywhere in the name of the model."""
    takes_json_with_tools: bool = False
    """Whether a request may have both tools and a JSON form. Gemini, Groq and others reject such requests. With
    servers that force the form, such as vLLM and Ollama, the model could call no tool."""

    @property
    def vendor(self) -> str:
        """litellm's name of the vendor."""
        return self.litellm_prefix.partition("/")[0]

    # Credentials

    def missing_slot(self, credentials: Secrets) -> CredentialSlot | None:
        """The first required slot that is absent or blank."""
        for slot in self.slots:
            if slot.is_required and not _text(credentials, slot.name):
                return slot
        return None

    def malformed_slot(self, credentials: Secrets) -> CredentialSlot | None:
        """The first secret that no HTTP header can carry, such as one with a line break from pasting."""
        for slot in self.slots:
            value = _text(credentials, slot.name)
            if slot.is_secret and not (value.isascii() and (value + "x").isprintable() and " " not in value):
                return slot
        return None

    def unknown_credential(self, names: Iterable[str]) -> str | None:
        """What is wrong with the first name that is not the name of a slot; None if all are."""
        allowed = [slot.name for slot in self.slots]
        for name in names:
            if name not in allowed:
                suggestion = argument_checks.did_you_mean(_OTHER_NAMES.get(name, name), allowed)
                return f"{name!r} is not a credential of kind {self.name}. Use: {', '.join(allowed)}.{suggestion}"
        return None

    def secrets(self, credentials: Secrets) -> list[str]:
        """The values that must never be shown."""
        values = (_text(credentials, slot.name) for slot in self.slots if slot.is_secret)
        return [value for value in values if value]

    def base_url(self, credentials: Secrets) -> str:
        """The configured API base, or the vendor's own. Raises KeyError if its address lacks a credential."""
        configured = _text(credentials, "api_base").rstrip("/")
        return configured or self.api_base.format_map(
            {slot.name: value for slot in self.slots if (value := credentials.get(slot.name))}
        )

    def is_v1_missing(self, credentials: Secrets) -> bool:
        """Whether this is a self-hosted server at an address that does not end in /v1, as most do."""
        return self.is_self_hosted and not self.base_url(credentials).endswith("/v1")

    # Calls

    def litellm_arguments(self, credentials: Secrets) -> dict[str, Any]:
        """The key and the address, as arguments of ``litellm.completion()``.

        Both are always given: litellm takes missing ones from the host's environment.
        """
        values = {slot.name: value for slot in self.slots if (value := _text(credentials, slot.name))}
        # "none" is sent to a server that asks for no key.
        return {"api_key": "none", **values, "api_base": self.base_url(credentials)}

    def litellm_client(
        self, http: httpx.Client | httpx.AsyncClient, credentials: Secrets, arguments: Mapping[str, Any]
    ) -> Any:
        """litellm's client for this vendor, on top of ``http``. ``arguments`` has the key and the address."""
        from ..http_handlers import handler_on

        return handler_on(http)

    # Models

    def problem_of_model(self, model: str) -> str | None:
        """Why litellm would not call this vendor's chat API for the model, as a sentence that begins with "It"."""
        return "It is a fine-tuned model of OpenAI's." if model.lower().startswith("ft:") else None

    def price_list_model(self, model: str, credentials: Secrets) -> str:
        """The name of the model in the price list."""
        return model

    def price_list_entries(self, model: str) -> Iterator[tuple[str, str]]:
        """The vendors and names with which the price list may have the model, named as there."""
        for vendor in self.price_lists:
            yield vendor, f"{vendor}/{model}"
            yield vendor, model

    def accepts_schema(self, schema: Mapping[str, Any]) -> bool:
        """Whether this JSON schema is sent to the vendor unchanged and the vendor accepts it."""
        return self.is_self_hosted or schema.get("type") == "object"

    def model_list_headers(self, credentials: Secrets) -> dict[str, str]:
        """The headers of a request for the list of models."""
        key = _text(credentials, "api_key")
        if not key:
            return {}
        return {self.key_header: f"Bearer {key}" if self.key_header == "Authorization" else key}

    def listed_models(self, page: Mapping[str, Any]) -> Iterator[Any]:
        """The names of the chat models on one page of the list. A server may send anything: check them."""
        for entry in page.get("data") or page.get("models") or []:
            yield entry.get("id") or entry.get("name")


def _text(credentials: Secrets, name: str) -> str:
    return str(credentials.get(name) or "").strip()
