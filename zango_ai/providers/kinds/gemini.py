"""Google Gemini, by the Generative Language API."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from .base import API_BASE, API_KEY, Kind


class _Gemini(Kind):
    def listed_models(self, page: Mapping[str, Any]) -> Iterator[Any]:
        for entry in page.get("models") or []:
            if "generateContent" in entry.get("supportedGenerationMethods", ["generateContent"]):
                yield str(entry["name"]).removeprefix("models/")


GEMINI = _Gemini(
    name="gemini",
    label="Google Gemini",
    slots=(API_KEY, API_BASE),
    litellm_prefix="gemini",
    api_base="https://generativelanguage.googleapis.com/v1beta",
    price_lists=("gemini",),
    models_path="/models",
    model_list_params={"pageSize": "1000"},
    key_header="x-goog-api-key",
    fetches_documents=True,
    is_vendor_read_from_model=True,
)
