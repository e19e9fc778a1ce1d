"""How a model is asked for JSON: by a schema, by the vendor's JSON mode, or in words."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from ..exceptions import LLMAPIError
from ..output import strict
from ..types import JSONForm, LLMMessage, ModelRequest, ProviderSpec
from . import errors, prices, refused_forms
from .kinds import KINDS

_JSON_BESIDE_TOOLS = {"openai", "azure", "anthropic"}
"""Kinds that take a form for the answer together with tools. Gemini, Groq and others refuse the two at once, and
servers that force the form (vLLM, Ollama) would let the model call nothing."""
_REFUSING_STATUSES = {400, 404, 415, 422, 500, 501}
_NAMES_THE_FORM = re.compile(
    r"response_?format|json[ _]?(schema|object|mode)|structured.?output|guided|grammar|invalid schema",
    re.IGNORECASE,
)
_NAMES_A_FUNCTION = re.compile(r"schema for function", re.IGNORECASE)
_NAMES_THIS_SCHEMA = re.compile(r"invalid schema|schema error|grammar|pattern|regex|\$ref", re.IGNORECASE)


def shaped(provider: ProviderSpec, request: ModelRequest) -> ModelRequest:
    """The request with its ``json_form`` set, and the schema in words unless the model surely follows it anyway."""
    if not request.wants_json:
        return request
    refused = refused_forms.of(provider, request)
    form = next(form for form in _forms(provider, request) if form not in refused)
    request = replace(request, json_form=form)
    if form == "schema" and prices.accepts(provider, request.model, "schema") and not _is_self_hosted(provider):
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


def response_format(request: ModelRequest) -> dict[str, Any] | None:
    """litellm's ``response_format`` for a shaped request. litellm translates it for each vendor."""
    if not request.wants_json or request.json_form == "words":
        return None
    if request.json_form == "object" or request.json_schema is None:
        return {"type": "json_object"}
    try:
        schema, is_strict = strict.strict_form(request.json_schema), True
    except strict.NotStrict:
        schema, is_strict = dict(request.json_schema), False
    return {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema, "strict": is_strict}}


def note_refusal(provider: ProviderSpec, request: ModelRequest, error: BaseException) -> None:
    """Where the vendor refused the JSON form of a request: remember that, and mark the error for the engine."""
    if not (request.wants_json and request.json_form != "words" and isinstance(error, LLMAPIError)):
        return
    words = errors.words_of(error)
    if error.status_code not in _REFUSING_STATUSES or not _NAMES_THE_FORM.search(words):
        return
    if _NAMES_A_FUNCTION.search(words):
        return
    is_of_schema = request.json_form == "schema" and _NAMES_THIS_SCHEMA.search(words) is not None
    refused_forms.remember(provider, request, only_this_schema=is_of_schema)
    error.is_json_form_refused = True


def _forms(provider: ProviderSpec, request: ModelRequest) -> Iterator[JSONForm]:
    """The forms that the model may be asked in, the strictest first."""
    if _takes_schema(provider, request):
        yield "schema"
    if _takes_json_mode(provider, request):
        yield "object"
    yield "words"


def _takes_schema(provider: ProviderSpec, request: ModelRequest) -> bool:
    """Whether the model takes schemas, as far as anybody knows, and this one can be sent unharmed."""
    schema = request.json_schema
    if request.tools and provider.kind not in _JSON_BESIDE_TOOLS:
        return False
    # On Bedrock litellm would force a tool, and no other could be called.
    if schema is None or provider.kind == "bedrock":
        return False
    accepts = prices.accepts(provider, request.model, "schema")
    if _is_self_hosted(provider):
        return accepts is not False
    if schema.get("type") != "object":
        return False  # vendors take no other
    if provider.kind == "anthropic" and (strict.reason_against(schema) or strict.is_recursive(schema)):
        return False  # litellm would make another schema of it
    return bool(accepts)


def _takes_json_mode(provider: ProviderSpec, request: ModelRequest) -> bool:
    if request.json_schema is not None and request.json_schema.get("type") != "object":
        return False  # a vendor's JSON mode is for objects
    return not request.tools or provider.kind in _JSON_BESIDE_TOOLS


def _is_self_hosted(provider: ProviderSpec) -> bool:
    return KINDS[provider.kind].is_self_hosted


def _says_json(request: ModelRequest) -> bool:
    return any("json" in message.content.lower() for message in request.messages)
