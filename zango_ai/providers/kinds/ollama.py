"""Ollama, by its OpenAI-compatible API. For Ollama's own API, litellm would use a client of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .base import OPTIONAL_API_KEY, required_api_base
from .openai import OpenAIKind

if TYPE_CHECKING:
    from ...types import Secrets


class _Ollama(OpenAIKind):
    def base_url(self, credentials: Secrets) -> str:
        base = super().base_url(credentials)
        return base if base.endswith("/v1") else base + "/v1"


OLLAMA = _Ollama(
    name="ollama",
    label="Ollama",
    slots=(OPTIONAL_API_KEY, required_api_base("http://ollama.example.com:11434")),
    litellm_prefix="openai",
    models_path="/models",
    document_types=(),
    fetches_images=False,
    is_self_hosted=True,
    is_gateway=True,
)
