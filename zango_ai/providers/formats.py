"""How a vendor is told that JSON is wanted: in the strictest form that the model takes, down to words."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from .. import strict_schemas
from ..types import LLMMessage, ModelRequest, ProviderSpec
from . import prices
from .kinds import KINDS


def shaped(provider: ProviderSpec, request: ModelRequest) -> ModelRequest:
    """The request with the schema in words, where the model takes it in no other way."""
    if request.json_schema is None or _takes_schema(provider, request.model):
        return request
    words = "Reply with one JSON value and nothing else. It has to match this JSON Schema:\n" + json.dumps(
        request.json_schema, ensure_ascii=False
    )
    first = request.messages[0] if request.messages and request.messages[0].role == "system" else None
    head = LLMMessage("system", f"{first.content}\n\n{words}" if first else words)
    return replace(request, messages=(head, *request.messages[1 if first else 0 :]))


def response_format(provider: ProviderSpec, request: ModelRequest) -> dict[str, Any] | None:
    """litellm's ``response_format``, from which it makes what each vendor calls it."""
    if not request.wants_json:
        return None
    if request.json_schema is not None and _takes_schema(provider, request.model):
        try:
            schema, is_strict = strict_schemas.strict_form(request.json_schema), True
        except strict_schemas.NotStrict:
            schema, is_strict = dict(request.json_schema), False
        return {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema, "strict": is_strict}}
    if KINDS[provider.kind].json_mode_wants_the_word and not _says_json(request):
        return None  # OpenAI, and who is like it, refuses its JSON mode where no message says the word
    return {"type": "json_object"}


def _takes_schema(provider: ProviderSpec, model: str) -> bool:
    """Whether the price list says so. On Bedrock litellm would force a tool, and no other could be called."""
    if provider.kind == "bedrock":
        return False
    return bool((prices.abilities_of(provider, model) or {}).get("supports_response_schema"))


def _says_json(request: ModelRequest) -> bool:
    return any("json" in message.content.lower() for message in request.messages)
