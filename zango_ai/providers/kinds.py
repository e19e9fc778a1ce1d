"""The kinds of provider, in one table that forms, checks and calls share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class CredentialSlot:
    """One entry of ``Provider.credentials``."""

    name: str
    label: str
    is_secret: bool = False
    is_required: bool = False
    help_text: str = ""


@dataclass(frozen=True, slots=True)
class Kind:
    """A vendor's protocol, and what a provider of it is configured with."""

    name: str
    label: str
    litellm_prefix: str
    """What litellm calls the vendor; set before every model name."""
    price_list: str | None
    """Whose prices of litellm's list apply. None: prices are only known from ``ProviderModel`` rows."""
    slots: tuple[CredentialSlot, ...]

    def missing(self, credentials: Mapping[str, str]) -> CredentialSlot | None:
        """The first required entry that is absent or blank."""
        for slot in self.slots:
            if slot.is_required and not str(credentials.get(slot.name) or "").strip():
                return slot
        return None


_API_KEY = CredentialSlot("api_key", "API key", is_secret=True, is_required=True)
_API_BASE = CredentialSlot("api_base", "API base URL", help_text="Leave empty for the vendor's own address.")

KINDS: dict[str, Kind] = {
    kind.name: kind
    for kind in (
        Kind(
            "openai",
            "OpenAI",
            "openai",
            "openai",
            (_API_KEY, _API_BASE, CredentialSlot("organization", "Organization id")),
        ),
        Kind("anthropic", "Anthropic", "anthropic", "anthropic", (_API_KEY, _API_BASE)),
        Kind(
            "openai_compatible",
            "Any OpenAI-compatible server",
            "openai",
            None,
            (
                CredentialSlot("api_key", "API key", is_secret=True, help_text="If the server asks for one."),
                CredentialSlot(
                    "api_base",
                    "API base URL",
                    is_required=True,
                    help_text="Up to and including /v1, as https://llm.example.com/v1.",
                ),
            ),
        ),
    )
}
