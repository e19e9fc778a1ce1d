"""Any server with OpenAI's chat completions API: llama.cpp, vLLM, a gateway."""

from __future__ import annotations

from django.utils.translation import gettext_noop as _

from .base import OPTIONAL_API_KEY, required_api_base
from .openai import OpenAIKind

OPENAI_COMPATIBLE = OpenAIKind(
    name="openai_compatible",
    label=_("Any OpenAI-compatible server"),
    slots=(OPTIONAL_API_KEY, required_api_base("https://llm.example.com/v1")),
    litellm_prefix="openai",
    models_path="/models",
    is_self_hosted=True,
    is_gateway=True,
)
