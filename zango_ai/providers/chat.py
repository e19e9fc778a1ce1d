"""Ask a model over the network, through litellm."""

from __future__ import annotations

import copy
import json
import secrets
import sys
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from django.core.signals import setting_changed
from django.dispatch import receiver

from ..conf import get_conf
from ..encryption.fields import Credentials, Undecryptable
from ..exceptions import ModelNotAvailable, PriceUnknown, ProviderConfigInvalid
from ..sanitize import sendable
from ..types import (
    Estimate,
    LLMMessage,
    LLMUsage,
    ModelAnswer,
    ModelRequest,
    ProviderSpec,
    Secrets,
    StopReason,
    ToolRequest,
    ToolSchema,
)
from . import (
    addresses,
    attachments,
    clients,
    errors,
    litellm_import,
    litellm_logging,
    model_names,
    prices,
    response_format,
    wire,
)
from .kinds import KINDS, Kind
from .masking import Mask
from .token_estimate import estimate_prompt_tokens
from .vendor_words import Cleaner
from .withheld import Withheld

PING_TIMEOUT_S = 20.0
_STOP_REASONS: dict[str, StopReason] = {"length": "max_tokens", "content_filter": "refusal"}


def check(provider: ProviderSpec) -> Kind:
    """The provider's kind. Raises ProviderConfigInvalid where it could not be asked anything."""
    held, bases = provider.credentials, get_conf().allowed_api_bases
    if isinstance(held, Credentials):
        problem = _known_problem(provider.kind, held.token, bases)
    else:
        problem = _problem(provider.kind, held, bases)
    if problem is not None:
        field, reason = problem
        raise ProviderConfigInvalid(provider.name, f"Provider {provider.name!r} {reason}", field=field)
    return KINDS[provider.kind]


@lru_cache(1024)
def _known_problem(kind: str, token: str, bases: tuple[str, ...]) -> tuple[str, str] | None:
    """The same for the same encrypted credentials; they need not be decrypted to know it."""
    return _problem(kind, Credentials(token=token), bases)


@receiver(setting_changed)
def _forget(**kwargs: Any) -> None:
    _known_problem.cache_clear()


def _problem(kind_name: str, credentials: Secrets, bases: tuple[str, ...]) -> tuple[str, str] | None:
    """What is wrong: a field, and words that go on from the provider's name."""
    kind = KINDS.get(kind_name)
    if kind is None:
        return "kind", f"is of kind {kind_name!r}. Choose one of {', '.join(KINDS)}."
    try:
        slot = kind.missing(credentials)
    except Undecryptable as exc:
        reason = f"has credentials that cannot be decrypted: {exc} Put the key that they were saved with back, or "
        return "credentials", reason + "enter them again."
    if slot is not None:
        # Without a key litellm would take the host's own from the environment.
        return slot.name, f"has no {slot.label}. Enter it in the provider's credentials."
    slot = kind.malformed(credentials)
    if slot is not None:
        return slot.name, f"has an {slot.label} with spaces, line breaks or other signs in it."
    problem = addresses.problem_of(kind.base_of(credentials), bases)
    return None if problem is None else ("api_base", f"has an API base URL that cannot be used. {problem}")


def warm_up() -> None:
    """Load what the first run of a process needs: litellm, and the certificates that vendors are checked by.

    It takes some seconds, once. A run does it by itself; a worker or a web process may do it at its start. It
    starts no thread and opens no connection, so it may be done before a process forks.
    """
    litellm_import.load()
    wire.tls()


def ask(provider: ProviderSpec, request: ModelRequest) -> ModelAnswer:
    """One call to the provider, over in ``request.timeout_s`` by the wall clock.

    Raises ProviderConfigInvalid, ModelNotAvailable, RateLimitExceeded, LLMTimeoutError or LLMAPIError.
    """
    kind = check(provider)
    _require_own_model(provider, kind, request.model)
    result = _complete(provider, kind, request)
    if isinstance(result, BaseException):
        response_format.note_refusal(provider, request, result)
        raise result
    return result


def ping(provider: ProviderSpec, model: str) -> None:
    """The smallest call that shows that address, key and model are right. Raises what ``ask`` raises."""
    hello = (LLMMessage("user", "Say ok."),)
    ask(provider, ModelRequest(model, hello, temperature=1.0, max_tokens=16, timeout_s=PING_TIMEOUT_S))


def require_price(provider: ProviderSpec, model: str) -> None:
    """Raises PriceUnknown for a model that could pass a budget unseen."""
    if provider.allow_unpriced or prices.find_price(provider, model) is not None:
        return
    raise PriceUnknown(
        model,
        provider.name,
        f"There is a monthly budget, and the price of model {model!r} of provider {provider.name!r} is not known. "
        "Enter its costs in the provider's list of models, or allow models without a price there.",
    )


def require_chat_model(provider: ProviderSpec, model: str) -> None:
    """Raises ModelNotAvailable for a model that the vendor offers through another API than the one asked here."""
    _require_own_model(provider, KINDS[provider.kind], model)
    mode = (prices.abilities_of(provider, model) or {}).get("mode", "chat")
    if mode == "chat" and not model.startswith("responses/"):
        return
    raise ModelNotAvailable(
        model,
        provider.name,
        f"Model {model!r} of provider {provider.name!r} answers through another API of the vendor's ({mode}), "
        "which is not supported. Choose a chat model.",
    )


def require_tool_model(provider: ProviderSpec, model: str) -> None:
    """Raises ModelNotAvailable for a model that is listed as taking no tools."""
    row = provider.find_model(model)
    if row is not None and row.accepts_tools is False:
        raise ModelNotAvailable(
            model,
            provider.name,
            f"Model {model!r} of provider {provider.name!r} is listed as taking no tools, and the agent has some. "
            "Choose another model, or change the provider's list of models.",
        )


def _require_own_model(provider: ProviderSpec, kind: Kind, model: str) -> None:
    """Raises ModelNotAvailable for a name by which litellm would call another vendor than the provider's."""
    problem = model_names.problem_of(kind, model)
    if problem is not None:
        raise ModelNotAvailable(
            model,
            provider.name,
            f"Model {model!r} cannot be used with provider {provider.name!r}. {problem} Nothing was sent.",
        )


def shaped(provider: ProviderSpec, request: ModelRequest) -> ModelRequest:
    """The request as this provider's model has to be asked."""
    return response_format.shaped(provider, request)


def estimate(provider: ProviderSpec, request: ModelRequest) -> Estimate:
    """The most that one call is expected to use."""
    tokens = estimate_prompt_tokens(text for message in request.messages for text in message.texts)
    tokens += sum(attachments.tokens_of(file, request.model) for file in request.files)
    tokens += estimate_prompt_tokens(json.dumps(tool, ensure_ascii=False) for tool in map(_tool, request.tools))
    price = prices.find_price(provider, request.model)
    cost = None if price is None else prices.ceiling_of(tokens, request.max_tokens, price)
    return Estimate(tokens + request.max_tokens, cost)


def _complete(provider: ProviderSpec, kind: Kind, request: ModelRequest) -> ModelAnswer | BaseException:
    """Errors are returned, so that this frame and those below, which hold the key, are in nobody's traceback."""
    caught_before = sys.exception()
    try:
        with wire.calling(request.timeout_s, kind.vendor) as call, clients.kept_for(provider, kind) as kept:
            try:
                messages = [_message(message, call.attachments) for message in request.messages]
                reply = _send(provider, kind, request, kept, messages)
                if call.status is None:
                    raise RuntimeError("litellm has answered without a call on our connections")
                return _read(provider, request, reply, call, kept.answer_mask)
            except BaseException as exc:
                where = f"Provider {provider.name!r} (model {request.model!r})"
                cleaner = Cleaner(kept.mask, request)
                return errors.of_call(
                    exc, call, caught_before, provider_name=provider.name, where=where, cleaner=cleaner
                )
    except BaseException as exc:  # a time limit that struck before the call, or while its error was being read
        return errors.without_frames(exc)


def _message(message: LLMMessage, placeholders: attachments.Placeholders) -> dict[str, Any]:
    """The message in litellm's form; its files before its text."""
    sent: dict[str, Any] = {"role": message.role, "content": sendable(message.content)}
    if message.files:
        text = [{"type": "text", "text": sent["content"]}] if message.content else []
        sent["content"] = [*map(placeholders.part, message.files), *text]
    if message.tool_calls:
        # An empty text would go to Anthropic as a note of litellm's own.
        sent["content"] = sent["content"] or None
        sent["tool_calls"] = [
            {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
            for call in message.tool_calls
        ]
    return sent | ({"tool_call_id": message.tool_call_id} if message.tool_call_id else {})


def _tool(tool: ToolSchema) -> dict[str, Any]:
    return {
        "type": "function",
        "function": {
            "name": tool.name,
            "description": tool.description,
            "parameters": dict(tool.parameters),
        },
    }


def _send(
    provider: ProviderSpec, kind: Kind, request: ModelRequest, kept: clients.Kept, messages: list[dict[str, Any]]
) -> Any:
    litellm = litellm_import.load()
    wanted = response_format.response_format(request)
    arguments = {
        "model": f"{kind.litellm_prefix}/{request.model}",
        "custom_llm_provider": kind.vendor,  # else litellm reads it from the name
        "messages": messages,
        "timeout": request.timeout_s,
        "max_retries": 0,
        "temperature": request.temperature,
        "max_tokens": request.max_tokens,
        **({} if wanted is None else {"response_format": wanted}),
        # A copy: for Gemini litellm takes parts out of it.
        **({"tools": copy.deepcopy(list(map(_tool, request.tools)))} if request.tools else {}),
        **kept.address,
        "client": kept.built or clients.build(provider.credentials, kind, kept),
    }
    try:
        return litellm.completion(**litellm_logging.arguments_of(litellm, arguments))
    except litellm.UnsupportedParamsError:
        # Nothing was sent yet. A reasoning model takes no temperature: it is left out, for this call alone.
        return litellm.completion(**litellm_logging.arguments_of(litellm, {**arguments, "drop_params": True}))


def _read(provider: ProviderSpec, request: ModelRequest, reply: Any, call: wire.Call, mask: Mask) -> ModelAnswer:
    """The answer to the letter, but for credentials, which a gateway may echo."""
    choice = reply.choices[0]
    content = choice.message.content or ""
    if not isinstance(content, str):
        raise TypeError(f"The answer's content is a {type(content).__name__}, not text")
    usage, reasoning_tokens = _usage(reply)
    # An answer that counts nothing at all has not been counted.
    price = prices.find_price(provider, request.model) if usage != LLMUsage() else None
    return ModelAnswer(
        content=mask.apply(content),
        model=mask.apply(str(reply.model or request.model)),
        stop_reason=_STOP_REASONS.get(choice.finish_reason, "end_turn"),
        usage=usage,
        cost_usd=None if price is None else prices.cost_of(usage, price, reasoning_tokens=reasoning_tokens),
        request_params=call.request_params,
        tool_calls=tuple(_tool_calls(choice.message, call.withheld, mask)),
    )


def _tool_calls(message: Any, held: Withheld, mask: Mask) -> Iterator[ToolRequest]:
    """Each with an id that no other has: some servers give none, or one twice."""
    seen: set[str] = set()
    for call in getattr(message, "tool_calls", None) or ():
        key = mask.apply(sendable(str(call.id or "")))
        if not key or key in seen:
            key = f"call_{secrets.token_hex(12)}"
        seen.add(key)
        name, arguments = (str(getattr(call.function, field, None) or "") for field in ("name", "arguments"))
        yield ToolRequest(key, mask.apply(name), mask.apply(held.put_back(arguments)))


def _usage(reply: Any) -> tuple[LLMUsage, int]:
    """The tokens, and how many of the output tokens were reasoning."""
    counted = getattr(reply, "usage", None)
    sent = getattr(counted, "prompt_tokens_details", None)
    received = getattr(counted, "completion_tokens_details", None)
    usage = LLMUsage(
        input_tokens=_count(counted, "prompt_tokens"),
        output_tokens=_count(counted, "completion_tokens"),
        cache_creation_tokens=_count(sent, "cache_creation_tokens"),
        cache_read_tokens=_count(sent, "cached_tokens"),
    )
    return usage, _count(received, "reasoning_tokens")


def _count(holder: Any, name: str) -> int:
    """What a server sends is not to be trusted: no less than nothing, and no more than a column holds."""
    return min(max(int(getattr(holder, name, 0) or 0), 0), 10**12)
