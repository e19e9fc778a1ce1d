"""Azure OpenAI: the model's name in a request is the name of a deployment."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from django.utils.translation import gettext_noop as _

from .base import API_KEY, CredentialSlot, required_api_base
from .openai import OpenAIKind

if TYPE_CHECKING:
    import openai

    from ...types import Secrets


class _Azure(OpenAIKind):
    def litellm_arguments(self, credentials: Secrets) -> dict[str, Any]:
        arguments = super().litellm_arguments(credentials)
        if "base_model" in arguments:
            arguments["base_model"] = f"azure/{arguments['base_model']}"
        return arguments

    def _sdk_client(
        self, arguments: Mapping[str, Any], *, is_async: bool, **options: Any
    ) -> openai.OpenAI | openai.AsyncOpenAI:
        from .. import private_attributes
        from ..openai_client import AsyncAzureClient, AzureClient

        client = (AsyncAzureClient if is_async else AzureClient)(
            azure_endpoint=arguments["api_base"], api_version=arguments["api_version"], **options
        )
        private_attributes.replace("openai", client, "_azure_ad_token", None)  # from the host's environment
        return client

    def price_list_model(self, model: str, credentials: Secrets) -> str:
        return str(credentials.get("base_model") or model)


AZURE = _Azure(
    name="azure",
    label="Azure OpenAI",
    slots=(
        API_KEY,
        required_api_base("https://my-resource.openai.azure.com"),
        CredentialSlot(
            "api_version",
            _("API version"),
            is_required=True,
            help_text=_("for example %(example)s."),
            example="2024-10-21",
        ),
        CredentialSlot(
            "base_model",
            _("Base model"),
            help_text=_("the model that the deployments run, for example %(example)s. Its price is used."),
            example="gpt-5.4-mini",
        ),
    ),
    litellm_prefix="azure",
    price_lists=("azure",),
    key_header="api-key",
    takes_json_with_tools=True,
    has_own_model_names=True,
)
