"""A prepared call to a provider, and its translation to and from litellm."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..types import Estimate, ModelRequest, Price, ProviderSpec
from . import errors, json_forms, litellm_import, litellm_logging, messages
from .call_trace import CallTrace
from .clients import Client
from .kinds import Kind
from .vendor_messages import Cleaner


@dataclass(frozen=True, slots=True)
class CallPlan:
    """One request to one model, with everything looked up that sending it needs."""

    provider: ProviderSpec
    kind: Kind
    request: ModelRequest
    """As it is sent: with the JSON form that the model accepts."""
    price: Price | None
    """None if the price of the model is not known."""
    estimate: Estimate
    tools: tuple[Mapping[str, Any], ...] = field(repr=False)
    """The tools in litellm's form."""

    def error(
        self, exc: BaseException, trace: CallTrace, caught_before: BaseException | None, client: Client[Any]
    ) -> BaseException:
        """What to raise for an exception of the call."""
        where = f"Provider {self.provider.name!r} (model {self.request.model!r})"
        cleaner = Cleaner(client.mask, self.request)
        return errors.of_call(
            exc,
            trace,
            caught_before,
            provider_name=self.provider.name,
            where=where,
            cleaner=cleaner,
            is_v1_missing=self.kind.is_v1_missing(self.provider.credentials),
        )

    def arguments(self, client: Client[Any], trace: CallTrace) -> dict[str, Any]:
        """The arguments of ``litellm.completion()``."""
        request = self.request
        optional: dict[str, Any] = {}
        response_format = json_forms.response_format(request)
        if response_format is not None:
            optional["response_format"] = response_format
        if self.tools:
            optional["tools"] = copy.deepcopy(list(self.tools))  # for Gemini, litellm removes parts of them
        return {
            "model": f"{self.kind.litellm_prefix}/{request.model}",
            "custom_llm_provider": self.kind.vendor,  # otherwise litellm guesses it from the model's name
            "messages": [messages.to_litellm(message, trace.placeholders) for message in request.messages],
            "timeout": request.timeout_s,
            "max_retries": 0,
            "temperature": request.temperature,
            "max_tokens": request.max_tokens,
            **optional,
            **client.litellm_arguments,
            "client": client.for_litellm(self.kind, self.provider.credentials),
        }


def complete(arguments: Mapping[str, Any]) -> Any:
    """litellm's reply."""
    litellm = litellm_import.load()
    try:
        return litellm.completion(**litellm_logging.arguments_of(litellm, arguments))
    except litellm.UnsupportedParamsError:
        # Nothing was sent yet. Some models take no temperature: leave it out of this call only.
        return litellm.completion(**litellm_logging.arguments_of(litellm, {**arguments, "drop_params": True}))


async def complete_async(arguments: Mapping[str, Any]) -> Any:
    """litellm's reply. ``litellm.acompletion()`` would start a thread for each call."""
    litellm = litellm_import.load()
    arguments = {**arguments, "acompletion": True}
    try:
        return await litellm.completion(**litellm_logging.arguments_of(litellm, arguments))
    except litellm.UnsupportedParamsError:
        return await litellm.completion(**litellm_logging.arguments_of(litellm, {**arguments, "drop_params": True}))
