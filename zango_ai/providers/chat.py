"""Ask a model over the network, through litellm."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from ..exceptions import ProviderConfigInvalid
from ..fields import Undecryptable
from ..recordable import sendable
from ..types import LLMUsage, ModelAnswer, ModelRequest, ProviderSpec, StopReason
from . import errors, gate, prices
from .kinds import KINDS, Kind

_STOP_REASONS: dict[str, StopReason] = {"length": "max_tokens", "content_filter": "refusal"}


def check(provider: ProviderSpec) -> None:
    """Raises ProviderConfigInvalid where the provider could not be asked anything."""
    kind = KINDS.get(provider.kind)
    if kind is None:
        raise ProviderConfigInvalid(
            provider.name,
            f"Provider {provider.name!r} is of kind {provider.kind!r}, which is not known. "
            f"Known kinds: {', '.join(KINDS)}.",
            field="kind",
        )
    try:
        slot = kind.missing(provider.credentials)
    except Undecryptable as exc:
        raise ProviderConfigInvalid(
            provider.name,
            f"The credentials of provider {provider.name!r} cannot be decrypted: {exc} Put the key that they "
            "were saved with back into the list, or enter them again.",
            field="credentials",
        ) from None
    if slot is not None:
        # litellm would take the host's own key from the environment instead.
        raise ProviderConfigInvalid(
            provider.name,
            f"Provider {provider.name!r} has no {slot.label}. Enter it in the provider's credentials.",
            field=slot.name,
        )


def ask(provider: ProviderSpec, request: ModelRequest) -> ModelAnswer:
    """One call to the provider.

    Raises ProviderConfigInvalid, RateLimitExceeded, LLMTimeoutError or LLMAPIError.
    """
    check(provider)
    result = _complete(provider, request)
    if isinstance(result, BaseException):
        raise result
    return result


def _complete(provider: ProviderSpec, request: ModelRequest) -> ModelAnswer | BaseException:
    """Errors are returned, so that this frame, which holds the key, is in nobody's traceback."""
    kind = KINDS[provider.kind]
    secrets = [str(provider.credentials.get(slot.name) or "") for slot in kind.slots if slot.is_secret]
    params = _params(request)
    try:
        reply = gate.load().completion(
            model=f"{kind.litellm_prefix}/{request.model}",
            messages=[{"role": m.role, "content": sendable(m.content)} for m in request.messages],
            timeout=request.timeout_s,
            max_retries=0,
            **params,
            **_address(provider, kind),
        )
        return _read(provider, request, reply, params)
    except Exception as exc:
        return errors.translate(exc, provider_name=provider.name, model=request.model, secrets=secrets)
    except BaseException as exc:  # Ctrl-C and its like, on their way through
        exc.__cause__ = exc.__context__ = None
        return exc.with_traceback(None)


def _params(request: ModelRequest) -> dict[str, Any]:
    params: dict[str, Any] = {"temperature": request.temperature, "max_tokens": request.max_tokens}
    if request.wants_json:
        params["response_format"] = {"type": "json_object"}
    return params


def _address(provider: ProviderSpec, kind: Kind) -> dict[str, Any]:
    given = {slot.name: str(provider.credentials.get(slot.name) or "").strip() for slot in kind.slots}
    # A server that asks for no key is sent a word, never nothing: see litellm in check().
    given["api_key"] = given["api_key"] or "none"
    return {name: value for name, value in given.items() if value}


def _read(provider: ProviderSpec, request: ModelRequest, reply: Any, params: dict[str, Any]) -> ModelAnswer:
    choice = reply.choices[0]
    usage = _usage(reply)
    price = prices.find_price(provider.kind, request.model, provider.find_model(request.model))
    cost: Decimal | None = None if price is None else prices.cost_of(usage, price)
    return ModelAnswer(
        content=choice.message.content or "",
        model=str(reply.model or request.model),
        stop_reason=_STOP_REASONS.get(choice.finish_reason, "end_turn"),
        usage=usage,
        cost_usd=cost,
        request_params={"model": request.model, **params},
    )


def _usage(reply: Any) -> LLMUsage:
    counted = getattr(reply, "usage", None)
    details = getattr(counted, "prompt_tokens_details", None)
    return LLMUsage(
        input_tokens=int(getattr(counted, "prompt_tokens", 0) or 0),
        output_tokens=int(getattr(counted, "completion_tokens", 0) or 0),
        cache_creation_tokens=int(getattr(details, "cache_creation_tokens", 0) or 0),
        cache_read_tokens=int(getattr(details, "cached_tokens", 0) or 0),
    )
