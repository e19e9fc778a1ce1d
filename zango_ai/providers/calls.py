"""Prepare one call to a provider, estimate it, send it.

::

    call = calls.prepare(provider, request)
    call.estimate           # the most tokens and USD that it may use: reserve that first
    answer = call.send()
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..types import Estimate, LLMMessage, ModelAnswer, ModelRequest, Price, ProviderSpec
from . import (
    attachments,
    checks,
    clients,
    errors,
    http_exchange,
    json_forms,
    litellm_import,
    messages,
    model_answers,
    model_info,
    prices,
)
from .call_plan import CallPlan, complete, complete_async
from .call_trace import CallTrace
from .streaming import AnswerStream, AsyncAnswerStream
from .token_estimate import estimate_prompt_tokens

PING_TIMEOUT_S = 20.0


@dataclass(frozen=True, slots=True)
class PreparedCall(CallPlan):
    """One request to one model, ready to be sent. It may be sent again."""

    def new_trace(self) -> CallTrace:
        """The trace of one attempt. The attempt's time starts now."""
        return CallTrace.start(self.request.timeout_s, self.kind.vendor)

    def send(self, trace: CallTrace | None = None) -> ModelAnswer:
        """Send the request and return the answer within ``request.timeout_s`` seconds by the wall clock.

        Pass a ``new_trace()`` to see whether the request was sent, if the call is cancelled.
        Raises RateLimitExceeded, LLMTimeoutError, LLMAPIError, or ProviderConfigInvalid if the provider's address
        leads into the host's network.
        """
        return self._answer_of(self._exchange(trace or self.new_trace()))

    async def send_async(self, trace: CallTrace | None = None) -> ModelAnswer:
        """The async form of ``send()``."""
        return self._answer_of(await self._exchange_async(trace or self.new_trace()))

    def _answer_of(self, result: ModelAnswer | BaseException) -> ModelAnswer:
        if isinstance(result, BaseException):
            json_forms.note_refusal(self.provider, self.request, result)
            raise result
        return result

    def _exchange(self, trace: CallTrace) -> ModelAnswer | BaseException:
        """The answer or the error, which is returned and not raised: this frame and those below hold the key, and a
        traceback would show it."""
        caught_before = sys.exception()
        try:
            with trace.active(), clients.borrow(self.provider, self.kind) as client:
                try:
                    return self._read(complete(self.arguments(client, trace)), trace, client)
                except BaseException as exc:
                    return self.error(exc, trace, caught_before, client)
        except BaseException as exc:  # a task's time limit, raised before the call or while its error was read
            return errors.without_frames(exc)

    async def _exchange_async(self, trace: CallTrace) -> ModelAnswer | BaseException:
        """The async form of ``_exchange()``."""
        caught_before = sys.exception()
        try:
            with trace.active():
                async with clients.borrow_async(self.provider, self.kind) as client:
                    try:
                        return self._read(await complete_async(self.arguments(client, trace)), trace, client)
                    except BaseException as exc:
                        return self.error(exc, trace, caught_before, client)
        except BaseException as exc:
            return errors.without_frames(exc)

    def _read(self, reply: Any, trace: CallTrace, client: clients.Client[Any]) -> ModelAnswer:
        if trace.status is None:
            raise RuntimeError("litellm returned an answer without using our HTTP client")
        return model_answers.read(reply, trace, self.request.model, self.price, client.answer_mask)

    def stream(self) -> AnswerStream:
        """Send the request and read the answer as it arrives. See ``AnswerStream``."""
        return AnswerStream(self)

    def stream_async(self) -> AsyncAnswerStream:
        """The async form of ``stream()``."""
        return AsyncAnswerStream(self)


def prepare(provider: ProviderSpec, request: ModelRequest) -> PreparedCall:
    """Look up what the call needs. Raises ProviderConfigInvalid or ModelNotAvailable if it cannot be sent."""
    kind = checks.check_provider(provider)
    checks.require_own_model(provider, kind, request.model)
    model = model_info.look_up(provider, request.model)
    request = json_forms.with_json_form(provider, request, model)
    tools = tuple(map(messages.tool_to_litellm, request.tools))
    return PreparedCall(provider, kind, request, model.price, _estimate(request, model.price, tools), tools)


def ping(provider: ProviderSpec, model: str, timeout_s: float = PING_TIMEOUT_S) -> None:
    """Send the smallest request that proves the address, the key and the model. Raises what ``send()`` raises."""
    question = (LLMMessage("user", "Say ok."),)
    prepare(provider, ModelRequest(model, question, temperature=1.0, max_tokens=16, timeout_s=timeout_s)).send()


def warm_up() -> None:
    """Load what the first run of a process needs: litellm and the certificate authorities.

    This takes a few seconds, once per process. Without it the first run takes them; call it when a worker or a web
    process starts. It starts no thread and opens no connection, so call it before a process forks if you like.
    """
    litellm_import.load()
    http_exchange.tls_context()


def _estimate(request: ModelRequest, price: Price | None, tools: tuple[Mapping[str, Any], ...]) -> Estimate:
    """The most that the call is expected to use."""
    tokens = estimate_prompt_tokens(text for message in request.messages for text in message.texts)
    tokens += sum(attachments.tokens_of(file, request.model) for file in request.files)
    tokens += estimate_prompt_tokens(json.dumps(tool, ensure_ascii=False) for tool in tools)
    cost = None if price is None else prices.ceiling_of(tokens, request.max_tokens, price)
    return Estimate(tokens + request.max_tokens, cost)
