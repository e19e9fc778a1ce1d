"""Anthropic, by its Messages API."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ...output import strict_mode
from .base import API_BASE, API_KEY, Kind

if TYPE_CHECKING:
    from ...types import Secrets


class _Anthropic(Kind):
    def accepts_schema(self, schema: Mapping[str, Any]) -> bool:
        # litellm changes every schema that is recursive or cannot be made strict.
        is_changed = strict_mode.reason_against(schema) or strict_mode.is_recursive(schema)
        return super().accepts_schema(schema) and not is_changed

    def model_list_headers(self, credentials: Secrets) -> dict[str, str]:
        return {**super().model_list_headers(credentials), "anthropic-version": "2023-06-01"}


ANTHROPIC = _Anthropic(
    name="anthropic",
    label="Anthropic",
    slots=(API_KEY, API_BASE),
    litellm_prefix="anthropic",
    api_base="https://api.anthropic.com",
    price_lists=("anthropic",),
    models_path="/v1/models",
    model_list_params={"limit": "1000"},
    key_header="x-api-key",
    fetches_documents=True,
    is_vendor_read_from_model=True,
    takes_json_with_tools=True,
)
