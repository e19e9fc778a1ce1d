"""How a vendor is told that JSON is wanted: in the strictest form that the model takes, down to words."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from .. import strict_schemas
from ..types import LLMMessage, ModelRequest, ProviderSpec
from . import prices
from .kinds import KINDS

_JSON_BESIDE_TOOLS = {"openai", "azure", "anthropic"}
"""Kinds that take a form for the answer together with tools. Gemini, Groq and others refuse the two at once, and
servers that force the form (vLLM, Ollama) would let the model call nothing."""


def shaped(provider: ProviderSpec, request: ModelRequest) -> ModelRequest:
    """The request with what is wanted in words, where the model is told of it in no other way."""
    if not request.wants_json or _takes_schema(provider, request):
        return request
    if request.json_schema is None and _says_json(request):
        return request
    words = "Reply with one JSON value and nothing else."
    if request.json_schema is not None:
        schema = json.dumps(request.json_schema, ensure_ascii=False)
        words = f"{words} It has to match this JSON Schema:\n{schema}"
    first = request.messages[0] if request.messages and request.messages[0].role == "system" else None
    head = LLMMessage("system", f"{first.content}\n\n{words}" if first else words)
    return replace(request, messages=(head, *request.messages[1 if first else 0 :]))


def response_format(provider: ProviderSpec, request: ModelRequest) -> dict[str, Any] | None:
    """litellm's ``response_format``, from which it makes what each vendor calls it."""
    if not request.wants_json:
        return None
    if request.json_schema is not None and _takes_schema(provider, request):
        try:
            schema, is_strict = strict_schemas.strict_form(request.json_schema), True
        except strict_schemas.NotStrict:
            schema, is_strict = dict(request.json_schema), False
        return {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema, "strict": is_strict}}
    if request.json_schema is not None and request.json_schema.get("type") != "object":
        return None  # a vendor's JSON mode is for objects
    if request.tools and provider.kind not in _JSON_BESIDE_TOOLS:
        return None
    if KINDS[provider.kind].json_mode_wants_the_word and not _says_json(request):
        return None  # OpenAI, and who is like it, refuses its JSON mode where no message says the word
    return {"type": "json_object"}


def _takes_schema(provider: ProviderSpec, request: ModelRequest) -> bool:
    """Whether the price list says that the model takes schemas, and this one can be sent unharmed."""
    schema = request.json_schema
    if request.tools and provider.kind not in _JSON_BESIDE_TOOLS:
        return False
    # On Bedrock litellm would force a tool, and no other could be called. Vendors want an object.
    if schema is None or provider.kind == "bedrock" or schema.get("type") != "object":
        return False
    if provider.kind == "anthropic" and (
        strict_schemas.reason_against(schema) or strict_schemas.is_recursive(schema)
    ):
        return False  # litellm would make another schema of it
    return bool((prices.abilities_of(provider, request.model) or {}).get("supports_response_schema"))


def _says_json(request: ModelRequest) -> bool:
    return any("json" in message.content.lower() for message in request.messages)
