"""Ask a model over the network, through litellm."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

import httpx

from ..conf import get_conf
from ..exceptions import PriceUnknown, ProviderConfigInvalid
from ..fields import Credentials, Undecryptable
from ..recordable import sendable
from ..types import LLMMessage, LLMUsage, ModelAnswer, ModelRequest, ProviderSpec, StopReason
from . import addresses, errors, gate, prices, wire
from .kinds import KINDS, Kind

PING_TIMEOUT_S = 20.0
_STOP_REASONS: dict[str, StopReason] = {"length": "max_tokens", "content_filter": "refusal"}


def check(provider: ProviderSpec) -> Kind:
    """The provider's kind. Raises ProviderConfigInvalid where it could not be asked anything."""
    kind = KINDS.get(provider.kind)
    if kind is None:
        raise _invalid(provider, "kind", f"is of kind {provider.kind!r}. Choose one of {', '.join(KINDS)}.")
    try:
        slot = kind.missing(provider.credentials)
    except Undecryptable as exc:
        reason = f"has credentials that cannot be decrypted: {exc} Put the key that they were saved with back, or "
        raise _invalid(provider, "credentials", reason + "enter them again.") from None
    if slot is not None:
        # Without a key litellm would take the host's own from the environment.
        raise _invalid(provider, slot.name, f"has no {slot.label}. Enter it in the provider's credentials.")
    slot = kind.malformed(provider.credentials)
    if slot is not None:
        raise _invalid(provider, slot.name, f"has an {slot.label} with spaces, line breaks or other signs in it.")
    problem = addresses.problem_of(kind.base_of(provider.credentials), get_conf().allowed_api_bases)
    if problem is not None:
        raise _invalid(provider, "api_base", f"has an API base URL that cannot be used. {problem}")
    return kind


def warm_up() -> None:
    """Import what the first call needs, before the call's time begins to run."""
    gate.load()


def ask(provider: ProviderSpec, request: ModelRequest) -> ModelAnswer:
    """One call to the provider, over in ``request.timeout_s`` by the wall clock.

    Raises ProviderConfigInvalid, RateLimitExceeded, LLMTimeoutError or LLMAPIError.
    """
    result = _complete(provider, check(provider), request)
    if isinstance(result, BaseException):
        raise result
    return result


def ping(provider: ProviderSpec, model: str) -> None:
    """The smallest call that shows that address, key and model are right. Raises what ``ask`` raises."""
    hello = (LLMMessage("user", "Say ok."),)
    ask(provider, ModelRequest(model, hello, temperature=1.0, max_tokens=16, timeout_s=PING_TIMEOUT_S))


def require_price(provider: ProviderSpec, model: str) -> None:
    """Raises PriceUnknown where the provider has a budget that the model could pass unseen."""
    if not provider.has_budget or provider.allow_unpriced or prices.find_price(provider, model) is not None:
        return
    raise PriceUnknown(
        model,
        provider.name,
        f"Provider {provider.name!r} has a monthly budget, and the price of model {model!r} is not known. Enter "
        "its costs in the provider's list of models, or allow models without a price.",
    )


def _complete(provider: ProviderSpec, kind: Kind, request: ModelRequest) -> ModelAnswer | BaseException:
    """Errors are returned, so that this frame, which holds the key, is in nobody's traceback."""
    secrets = kind.secrets_of(provider.credentials)
    caught_before = sys.exception()
    with wire.calling(request.timeout_s) as call, wire.client(key_of(provider)) as kept:
        try:
            reply = _send(provider, kind, request, kept)
            return _read(provider, request, reply, call, secrets)
        except BaseException as exc:
            where = f"Provider {provider.name!r} (model {request.model!r})"
            return errors.of_call(
                exc, call, caught_before, provider_name=provider.name, where=where, secrets=secrets
            )


def _send(provider: ProviderSpec, kind: Kind, request: ModelRequest, kept: wire.Kept) -> Any:
    litellm = gate.load()
    arguments = {
        "model": f"{kind.litellm_prefix}/{request.model}",
        "messages": [{"role": m.role, "content": sendable(m.content)} for m in request.messages],
        "timeout": request.timeout_s,
        "max_retries": 0,
        "temperature": request.temperature,
        "max_tokens": request.max_tokens,
        **({"response_format": {"type": "json_object"}} if _json_mode(request, kind) else {}),
        **_address(provider.credentials, kind),
        "client": kept.built or _build(provider.credentials, kind, kept),
    }
    try:
        return litellm.completion(**arguments)
    except litellm.UnsupportedParamsError:
        # Nothing was sent yet. A reasoning model takes no temperature: it is left out, for this call alone.
        return litellm.completion(**arguments, drop_params=True)


def _json_mode(request: ModelRequest, kind: Kind) -> bool:
    """OpenAI, and who is like it, refuses its JSON mode where no message says the word."""
    if not request.wants_json or not kind.json_mode_wants_the_word:
        return request.wants_json
    return any("json" in message.content.lower() for message in request.messages)


def _address(credentials: Mapping[str, str], kind: Kind) -> dict[str, Any]:
    """Key and address, always given: what litellm is not told it takes from the host's environment."""
    held = ((slot.name, str(credentials.get(slot.name) or "").strip()) for slot in kind.slots)
    given: dict[str, Any] = {name: value for name, value in held if value}
    base = kind.base_of(credentials)
    if kind.name == "bedrock":
        # With a bearer token litellm looks for no AWS credentials: not in the host's environment, not in its
        # profile files, not at STS. What is sent is signed with the tenant's own instead, in _sign().
        region = given["aws_region_name"]
        return {"api_key": "none", "aws_region_name": region, "aws_bedrock_runtime_endpoint": base}
    if "base_model" in given:
        given["base_model"] = f"azure/{given['base_model']}"
    # A server that asks for no key is sent a word.
    return {"api_key": "none", **given, "api_base": base}


def _build(credentials: Mapping[str, str], kind: Kind, kept: wire.Kept) -> Any:
    """What litellm takes as this vendor's client, on the HTTP client that is kept."""
    given = _address(credentials, kind)
    if kind.client == "httpx":
        from litellm.llms.custom_httpx.http_handler import HTTPHandler

        if kind.name == "bedrock":
            own_keys = Credentials(credentials)
            kept.http.event_hooks = {"request": [lambda request: _sign(request, own_keys)]}
        kept.built = HTTPHandler(client=kept.http)
        return kept.built
    import openai

    common = {"api_key": given["api_key"], "http_client": kept.http, "max_retries": 0}
    if kind.client == "azure":
        built: Any = openai.AzureOpenAI(
            azure_endpoint=given["api_base"], api_version=given["api_version"], **common
        )
        built._azure_ad_token = None  # it has read the host's environment
    else:
        built = openai.OpenAI(base_url=given["api_base"], **common)
    built._custom_headers = {}  # OPENAI_CUSTOM_HEADERS
    # Both are read from the environment, by the SDK and once more by litellm.
    own = {"openai-organization": given.get("organization"), "openai-project": None}
    kept.http.event_hooks = {"request": [lambda request: _set_headers(request, own)]}
    kept.built = built
    return built


def _sign(request: httpx.Request, credentials: Mapping[str, str]) -> None:
    """Sign a request to Bedrock as AWS wants it (Signature Version 4)."""
    from botocore import auth, awsrequest
    from botocore import credentials as keys

    held = {name: str(value).strip() for name, value in credentials.items()}
    own = keys.Credentials(
        held["aws_access_key_id"], held["aws_secret_access_key"], held.get("aws_session_token") or None
    )
    for name in ("authorization", "x-amz-date", "x-amz-security-token"):
        request.headers.pop(name, None)
    signed = awsrequest.AWSRequest(
        "POST", str(request.url), {"Content-Type": request.headers["content-type"]}, request.content
    )
    auth.SigV4Auth(own, "bedrock", held["aws_region_name"]).add_auth(signed)
    request.headers.update(signed.headers.items())


def _set_headers(request: httpx.Request, headers: Mapping[str, str | None]) -> None:
    for name, value in headers.items():
        request.headers.pop(name, None)
        if value is not None:
            request.headers[name] = value


def key_of(provider: ProviderSpec) -> object:
    """The same for the same credentials, and without them: their encrypted form changes with each saving."""
    held = provider.credentials
    return provider.kind, held.token if isinstance(held, Credentials) else tuple(sorted(held.items()))


def _read(
    provider: ProviderSpec, request: ModelRequest, reply: Any, call: wire.Call, secrets: list[str]
) -> ModelAnswer:
    choice = reply.choices[0]
    usage, reasoning_tokens = _usage(reply)
    # An answer that counts nothing at all has not been counted.
    price = prices.find_price(provider, request.model) if usage != LLMUsage() else None
    return ModelAnswer(
        # A gateway that echoes its request would put the key into the log. A key of a few letters is no secret,
        # and taking it out would spoil the answer.
        content=errors.mask(choice.message.content or "", [s for s in secrets if len(s) >= 8]),
        model=errors.mask(str(reply.model or request.model), secrets),
        stop_reason=_STOP_REASONS.get(choice.finish_reason, "end_turn"),
        usage=usage,
        cost_usd=None if price is None else prices.cost_of(usage, price, reasoning_tokens=reasoning_tokens),
        request_params=call.request_params,
    )


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


def _invalid(provider: ProviderSpec, field: str, reason: str) -> ProviderConfigInvalid:
    return ProviderConfigInvalid(provider.name, f"Provider {provider.name!r} {reason}", field=field)
