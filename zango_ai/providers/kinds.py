"""The kinds of provider, in one table that forms, checks, calls and the documentation share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ..files.media_types import PDF
from ..types import Secrets

ClientForm = Literal["openai", "azure", "httpx"]
"""What litellm takes as this vendor's client: an OpenAI or Azure SDK object, or its own wrapper of httpx."""


@dataclass(frozen=True, slots=True)
class CredentialSlot:
    """One entry of ``Provider.credentials``."""

    name: str
    label: str
    is_secret: bool = False
    is_required: bool = False
    help_text: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A vendor's protocol, and what a provider of it is configured with."""

    name: str
    label: str
    slots: tuple[CredentialSlot, ...]
    litellm_prefix: str
    """What litellm calls the vendor; set before every model name."""
    api_base: str = ""
    """Where the vendor is, if the credentials do not say; ``{name}`` stands for another credential."""
    base_suffix: str = ""
    """Added to the API base where it is missing."""
    client: ClientForm = "httpx"
    price_lists: tuple[str, ...] = ()
    """Whose entries of litellm's price list apply. None: prices are known from ``ProviderModel`` rows only."""
    models_path: str = ""
    """Where the list of models is, below the API base. Empty: the vendor has none that a key can ask for."""
    key_header: str = "Authorization"
    document_types: tuple[str, ...] = (PDF,)
    """Media types that it takes as documents. Images of the usual types it takes in any case, text as text."""
    fetches_images: bool = True
    """Whether it takes an image by its URL."""
    fetches_documents: bool = False
    is_self_hosted: bool = False
    """Whether the server is of the llama.cpp, vLLM or Ollama sort: its models are in no price list, and it usually
    constrains decoding by any JSON schema."""

    @property
    def vendor(self) -> str:
        """What litellm calls the vendor, without the API that is asked."""
        return self.litellm_prefix.partition("/")[0]

    def missing(self, credentials: Secrets) -> CredentialSlot | None:
        """The first required entry that is absent or blank."""
        for slot in self.slots:
            if slot.is_required and not str(credentials.get(slot.name) or "").strip():
                return slot
        return None

    def malformed(self, credentials: Secrets) -> CredentialSlot | None:
        """The first secret with a character that no HTTP header takes: a line break, say, from pasting."""
        for slot in self.slots:
            value = str(credentials.get(slot.name) or "").strip()
            if slot.is_secret and not (value.isascii() and (value + "x").isprintable() and " " not in value):
                return slot
        return None

    def base_of(self, credentials: Secrets) -> str:
        """The API base that is used: the configured one, or the vendor's own."""
        given = str(credentials.get("api_base") or "").strip().rstrip("/")
        base = given or self.api_base.format_map(
            {slot.name: value for slot in self.slots if (value := credentials.get(slot.name))}
        )
        return base if base.endswith(self.base_suffix) else base + self.base_suffix

    def secrets_of(self, credentials: Secrets) -> list[str]:
        """The values that nobody may see."""
        held = (str(credentials.get(slot.name) or "").strip() for slot in self.slots if slot.is_secret)
        return [secret for secret in held if secret]


_OFFICE = (
    "application/msword",
    "application/vnd.ms-excel",
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
)
_KEY = CredentialSlot("api_key", "API key", is_secret=True, is_required=True)
_BASE = CredentialSlot("api_base", "API base URL", help_text="leave empty for the vendor's own address.")


def _base(example: str) -> CredentialSlot:
    return CredentialSlot("api_base", "API base URL", is_required=True, help_text=f"needed, as {example}.")


KINDS: dict[str, Kind] = {
    kind.name: kind
    for kind in (
        Kind(
            name="openai",
            label="OpenAI",
            slots=(_KEY, _BASE, CredentialSlot("organization", "Organization id")),
            litellm_prefix="openai",
            api_base="https://api.openai.com/v1",
            client="openai",
            price_lists=("openai",),
            models_path="/models",
        ),
        Kind(
            name="anthropic",
            fetches_documents=True,
            label="Anthropic",
            slots=(_KEY, _BASE),
            litellm_prefix="anthropic",
            api_base="https://api.anthropic.com",
            price_lists=("anthropic",),
            models_path="/v1/models",
            key_header="x-api-key",
        ),
        Kind(
            name="azure",
            label="Azure OpenAI",
            slots=(
                _KEY,
                _base("https://my-resource.openai.azure.com"),
                CredentialSlot("api_version", "API version", is_required=True, help_text="as 2024-10-21."),
                CredentialSlot(
                    "base_model",
                    "Base model",
                    help_text="the model behind the deployments, as gpt-5.4-mini: its price is used.",
                ),
            ),
            litellm_prefix="azure",
            client="azure",
            price_lists=("azure",),
            key_header="api-key",
        ),
        Kind(
            name="bedrock",
            document_types=(PDF, *_OFFICE),
            fetches_images=False,
            label="Amazon Bedrock",
            slots=(
                CredentialSlot("aws_access_key_id", "AWS access key id", is_secret=True, is_required=True),
                CredentialSlot("aws_secret_access_key", "AWS secret key", is_secret=True, is_required=True),
                CredentialSlot("aws_session_token", "AWS session token", is_secret=True),
                CredentialSlot("aws_region_name", "AWS region", is_required=True, help_text="as eu-central-1."),
                _BASE,
            ),
            litellm_prefix="bedrock/converse",
            api_base="https://bedrock-runtime.{aws_region_name}.amazonaws.com",
            price_lists=("bedrock", "bedrock_converse"),
        ),
        Kind(
            name="gemini",
            fetches_documents=True,
            label="Google Gemini",
            slots=(_KEY, _BASE),
            litellm_prefix="gemini",
            api_base="https://generativelanguage.googleapis.com/v1beta",
            price_lists=("gemini",),
            models_path="/models",
            key_header="x-goog-api-key",
        ),
        Kind(
            name="mistral",
            document_types=(),
            label="Mistral",
            slots=(_KEY, _BASE),
            litellm_prefix="mistral",
            api_base="https://api.mistral.ai/v1",
            price_lists=("mistral",),
            models_path="/models",
        ),
        Kind(
            name="groq",
            document_types=(),
            label="Groq",
            slots=(_KEY, _BASE),
            litellm_prefix="groq",
            api_base="https://api.groq.com/openai/v1",
            price_lists=("groq",),
            models_path="/models",
        ),
        Kind(
            name="ollama",
            is_self_hosted=True,
            document_types=(),
            fetches_images=False,
            label="Ollama",
            slots=(
                CredentialSlot("api_key", "API key", is_secret=True),
                _base("http://ollama.example.com:11434"),
            ),
            # Its OpenAI-compatible side: for its own, litellm asks the server for details by a client of its own.
            litellm_prefix="openai",
            client="openai",
            base_suffix="/v1",
            models_path="/models",
        ),
        Kind(
            name="openai_compatible",
            is_self_hosted=True,
            label="Any OpenAI-compatible server",
            slots=(
                CredentialSlot("api_key", "API key", is_secret=True),
                _base("https://llm.example.com/v1"),
            ),
            litellm_prefix="openai",
            client="openai",
            models_path="/models",
        ),
    )
}
