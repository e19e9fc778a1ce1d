"""OpenAI."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from django.utils.translation import gettext_noop as _

from .base import API_BASE, API_KEY, CredentialSlot, Kind

if TYPE_CHECKING:
    import httpx
    import openai

    from ...types import Secrets


class OpenAIKind(Kind):
    """A kind that litellm calls with the OpenAI SDK's client."""

    def problem_of_model(self, model: str) -> str | None:
        return None

    def litellm_client(
        self, http: httpx.Client | httpx.AsyncClient, credentials: Secrets, arguments: Mapping[str, Any]
    ) -> Any:
        import httpx

        from .. import http_exchange, private_attributes

        options = {"api_key": arguments["api_key"], "http_client": http, "max_retries": 0}
        client = self._sdk_client(arguments, is_async=isinstance(http, httpx.AsyncClient), **options)
        # The SDK and litellm read all of these from the host's environment.
        private_attributes.replace("openai", client, "_custom_headers", {})
        headers = {"openai-organization": arguments.get("organization"), "openai-project": None}
        http_exchange.add_request_hook(http, lambda request: _set_headers(request, headers))
        return client

    def _sdk_client(
        self, arguments: Mapping[str, Any], *, is_async: bool, **options: Any
    ) -> openai.OpenAI | openai.AsyncOpenAI:
        from ..openai_client import AsyncClient, Client

        return (AsyncClient if is_async else Client)(base_url=arguments["api_base"], **options)

    def model_list_headers(self, credentials: Secrets) -> dict[str, str]:
        headers = super().model_list_headers(credentials)
        organization = str(credentials.get("organization") or "").strip()
        return {**headers, "OpenAI-Organization": organization} if organization else headers


def _set_headers(request: httpx.Request, headers: Mapping[str, str | None]) -> None:
    """Set these headers; remove those whose value is None."""
    for name, value in headers.items():
        request.headers.pop(name, None)
        if value is not None:
            request.headers[name] = value


OPENAI = OpenAIKind(
    name="openai",
    label="OpenAI",
    slots=(API_KEY, API_BASE, CredentialSlot("organization", _("Organization ID"))),
    litellm_prefix="openai",
    api_base="https://api.openai.com/v1",
    price_lists=("openai",),
    models_path="/models",
    takes_json_with_tools=True,
)
