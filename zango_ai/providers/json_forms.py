"""How a model is asked for JSON: by a JSON schema, by the vendor's JSON mode, or by instructions in the prompt."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from ..exceptions import LLMAPIError
from ..output import strict_mode
from ..types import JSONForm, LLMMessage, ModelRequest, ProviderSpec
from . import errors, refused_json_forms
from .model_info import ModelInfo

_REFUSING_STATUSES = {400, 404, 415, 422, 500, 501}
_NAMES_THE_FORM = re.compile(
    r"response_?format|json[ _]?(schema|object|mode)|structured.?output|guided|grammar|invalid schema",
    re.IGNORECASE,
)
_INSTRUCTION = "Reply with one JSON value and nothing else."
_NAMES_A_FUNCTION = re.compile(r"schema for function", re.IGNORECASE)
_NAMES_THIS_SCHEMA = re.compile(r"invalid schema|schema error|grammar|pattern|regex|\$ref", re.IGNORECASE)


def with_json_form(provider: ProviderSpec, request: ModelRequest, model: ModelInfo) -> ModelRequest:
    """The request with its ``json_form`` set, and with the schema in the prompt if the model may ignore it."""
    if not request.wants_json:
        return request
    refused = refused_json_forms.of(provider, request)
    form = next(form for form in _forms(request, model) if form not in refused)
    request = replace(request, json_form=form)
    if form == "schema" and model.accepts("schema") and not model.kind.is_self_hosted:
        return request
    if request.json_schema is None and _mentions_json(request):
        return request
    return _with_instruction(request)


def _with_instruction(request: ModelRequest) -> ModelRequest:
    """The request with the wanted JSON described at the end of its system prompt."""
    instruction = _INSTRUCTION
    if request.json_schema is not None:
        schema = json.dumps(request.json_schema, ensure_ascii=False)
        instruction = f"{instruction} It has to match this JSON Schema:\n{schema}"
    first = request.messages[0] if request.messages and request.messages[0].role == "system" else None
    system = LLMMessage("system", f"{first.content}\n\n{instruction}" if first else instruction)
    return replace(request, messages=(system, *request.messages[1 if first else 0 :]))


def without_instruction(system_text: str) -> str:
    """The system prompt of a request that was sent, without the description of the wanted JSON at its end."""
    head, found, _ = system_text.rpartition(_INSTRUCTION)
    return head.removesuffix("\n\n") if found else system_text


def response_format(request: ModelRequest) -> dict[str, Any] | None:
    """The argument ``response_format`` of ``litellm.completion()``. litellm translates it for each vendor."""
    if not request.wants_json or request.json_form == "words":
        return None
    if request.json_form == "object" or request.json_schema is None:
        return {"type": "json_object"}
    try:
        schema, is_strict = strict_mode.strict_form(request.json_schema), True
    except strict_mode.NotStrict:
        schema, is_strict = dict(request.json_schema), False
    return {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema, "strict": is_strict}}


def note_refusal(provider: ProviderSpec, request: ModelRequest, error: BaseException) -> None:
    """If the vendor refused the JSON form of the request, remember that and mark the error for the engine."""
    if not (request.wants_json and request.json_form != "words" and isinstance(error, LLMAPIError)):
        return
    message = errors.vendor_message(error)
    if error.status_code not in _REFUSING_STATUSES or not _NAMES_THE_FORM.search(message):
        return
    if _NAMES_A_FUNCTION.search(message):
        return
    is_of_schema = request.json_form == "schema" and _NAMES_THIS_SCHEMA.search(message) is not None
    refused_json_forms.remember(provider, request, only_this_schema=is_of_schema)
    error.is_json_form_refused = True


def _forms(request: ModelRequest, model: ModelInfo) -> Iterator[JSONForm]:
    """The forms that the model may be asked in, the strictest first."""
    if model.kind.takes_json_with_tools or not request.tools:
        if _takes_schema(request, model):
            yield "schema"
        # A vendor's JSON mode is for objects.
        if request.json_schema is None or request.json_schema.get("type") == "object":
            yield "object"
    yield "words"


def _takes_schema(request: ModelRequest, model: ModelInfo) -> bool:
    """Whether the model accepts the request's schema, as far as is known."""
    if request.json_schema is None or not model.kind.accepts_schema(request.json_schema):
        return False
    accepts = model.accepts("schema")
    return accepts is not False if model.kind.is_self_hosted else bool(accepts)


def _mentions_json(request: ModelRequest) -> bool:
    return any("json" in message.content.lower() for message in request.messages)
