"""Groq."""

from __future__ import annotations

from .base import API_BASE, API_KEY, Kind

GROQ = Kind(
    name="groq",
    label="Groq",
    slots=(API_KEY, API_BASE),
    litellm_prefix="groq",
    api_base="https://api.groq.com/openai/v1",
    price_lists=("groq",),
    models_path="/models",
    document_types=(),
    is_gateway=True,
)
