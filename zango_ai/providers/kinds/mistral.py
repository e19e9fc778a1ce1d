"""Mistral."""

from __future__ import annotations

from .base import API_BASE, API_KEY, Kind

MISTRAL = Kind(
    name="mistral",
    label="Mistral",
    slots=(API_KEY, API_BASE),
    litellm_prefix="mistral",
    api_base="https://api.mistral.ai/v1",
    price_lists=("mistral",),
    models_path="/models",
    document_types=(),
)
