"""litellm's exceptions become ours: named by what a caller can do about them, and without credentials.

What counts is what came over the wire (status, headers), because litellm names the same fault differently for
different vendors; its own class decides where the status says too little.
"""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import lru_cache
from typing import Any

from ..exceptions import (
    ContentPolicyViolation,
    ContextWindowExceeded,
    LLMAPIError,
    LLMTimeoutError,
    ProviderConfigInvalid,
    RateLimitExceeded,
    ZangoAIError,
)
from . import private
from .vendor_words import MAX_KEPT, Cleaner, said_by
from .wire import Call

CLASSES: dict[str, type[ZangoAIError]] = {
    "ContextWindowExceededError": ContextWindowExceeded,
    "ContentPolicyViolationError": ContentPolicyViolation,
    "Timeout": LLMTimeoutError,
    "RateLimitError": RateLimitExceeded,
}
"""Where litellm's class says more than the status. Every other class of its is an LLMAPIError."""

_REMEDIES = {
    400: "It refused the request. Check the agent's model and settings.",
    401: "It rejected the API key. Enter a valid key in the provider's credentials.",
    403: "The API key is not allowed to do this. Check the key's permissions at the vendor.",
    404: "It knows no such model or address. Check the agent's model and the provider's API base URL.",
    408: "It gave up waiting. Try again later.",
    413: "The request is too large for it. Send less.",
}
_NO_QUOTA = re.compile(r"insufficient_quota|exceeded your current quota|credit balance", re.IGNORECASE)
_POLICY = re.compile(r"content.(policy|filter|management policy)|ResponsibleAIPolicy", re.IGNORECASE)
_CONTEXT = re.compile(
    r"maximum context|context (length|size|window)|prompt is too long|reduce the length|maximum number of tokens",
    re.IGNORECASE,
)
_DELAY = re.compile(
    r'(?:"retryDelay":\s*"|(?:try again|retry) in )(?:(\d{1,4})m(?!s))?(?:(\d{1,7}(?:\.\d{1,9})?)(ms|s))?',
    re.IGNORECASE,
)
_OF_THE_CALL = {
    *("litellm", "openai", "httpx", "httpcore", "h11", "h2", "anyio", "idna", "certifi", "urllib3", "aiohttp"),
    *("pydantic", "pydantic_core", "botocore", "boto3", "jsonschema", "tiktoken", "tokenizers", "zango_ai"),
    *("brotli", "zstandard"),
}
"""Where, beside the standard library, the exceptions of a call come from."""


def of_call(
    exc: BaseException,
    call: Call,
    caught_before: BaseException | None,
    *,
    provider_name: str,
    where: str,
    cleaner: Cleaner,
) -> BaseException:
    """What to raise for what was raised in a call. ``caught_before`` is what the caller was handling already."""
    through = passing(exc, caught_before)
    if through is not None:
        return through
    try:
        error = translate(exc, call, provider_name=provider_name, where=where, cleaner=cleaner)
    except Exception as own:  # what the vendor sent has broken the translation: nothing of it is kept
        error = LLMAPIError(f"{where} failed, and its error could not be read ({type(own).__name__}).")
    error.request_params = call.request_params
    error.may_be_billed = _may_be_billed(call)
    return error


def _may_be_billed(call: Call) -> bool:
    """A request that was sent and not answered in time, or got half an answer, or one that cannot be read.

    A server that hangs up before it has answered anything has failed, as with a 5xx.
    """
    if call.timed_out:
        return call.is_sent
    return call.is_broken or (call.status is not None and (call.status < 300 or call.status in {408, 504, 524}))


def passing(exc: BaseException, caught_before: BaseException | None = None) -> BaseException | None:
    """What is no error of the call but went through it: Ctrl-C, a task's time limit. Without its frames.

    A vendor's client wraps whatever is raised while it waits, so the chain is looked through, up to what was being
    handled before the call.
    """
    seen: BaseException | None = exc
    while seen is not None and seen is not caught_before:
        root = type(seen).__module__.partition(".")[0]
        is_foreign = not isinstance(seen, Exception) or isinstance(seen, private.UnknownRelease)
        if is_foreign or not (root in _OF_THE_CALL or root in sys.stdlib_module_names):
            return without_frames(seen)
        seen = seen.__cause__ or seen.__context__
    return None


def without_frames(exc: BaseException) -> BaseException:
    """``exc`` without the frames that it went through, and without what was being handled."""
    exc.__cause__ = exc.__context__ = None
    return exc.with_traceback(None)


def translate(exc: BaseException, call: Call, *, provider_name: str, where: str, cleaner: Cleaner) -> ZangoAIError:
    """The error to raise for an exception of litellm's, with the vendor's own words as far as they may be shown."""
    clean = scrub(exc, cleaner)
    words = cleaner.shown(said_by(call.body))
    told = f': "{words}".' if words else "."
    error = _named(CLASSES.get(type(exc).__name__), call, clean, provider_name, where, told)
    error.__cause__ = clean
    return error


def _named(
    known: type[ZangoAIError] | None, call: Call, clean: Exception, provider_name: str, where: str, told: str
) -> ZangoAIError:
    """``told`` ends a sentence with the vendor's words, where there are any."""
    words = str(clean)
    if call.refusal is not None:
        message = f"Provider {provider_name!r} has an API base URL that cannot be used. {call.refusal}"
        return ProviderConfigInvalid(provider_name, message, field="api_base")
    if call.unreadable is not None:
        message = f"{where} sent {call.unreadable}."
        return LLMAPIError(message, status_code=call.status, original_error=clean, is_retryable=False)
    if call.watch.refused is not None and not call.is_sent:
        message = f"{where} cannot be asked: litellm tried to {call.watch.refused}, which is not allowed."
        return ProviderConfigInvalid(provider_name, message)
    if call.timed_out or (known is LLMTimeoutError and call.status is None):
        return LLMTimeoutError(
            f"{where} did not answer in time. Raise the agent's timeout_seconds, or ask for less."
        )
    if call.is_broken:
        return _unreachable(clean, where)
    if call.status == 429:
        return _rate_limited(call.headers, words, where, told)
    refused = call.status in {400, 413, 422}
    if known is ContextWindowExceeded or (refused and _CONTEXT.search(words)):
        message = (
            f"{where} cannot take so much text at once{told} Send less, or choose a model with a larger context."
        )
        return ContextWindowExceeded(message, status_code=call.status, original_error=clean)
    if known is ContentPolicyViolation or (refused and _POLICY.search(words)):
        message = f"{where} refused the content under its policy{told} Change what is asked."
        return ContentPolicyViolation(message, status_code=call.status, original_error=clean)
    return _api_error(call, clean, where, told)


def _rate_limited(headers: Mapping[str, str], words: str, where: str, told: str) -> RateLimitExceeded:
    seconds = _retry_after(headers, words)
    # Some vendors say "quota" of a limit per minute, too: a time to wait tells the difference.
    if seconds is None and _NO_QUOTA.search(words):
        message = f"{where} has no quota left at the vendor{told} Waiting does not help: add credit there."
        return RateLimitExceeded(message, is_retryable=False)
    wait = "" if seconds is None else f" Try again in {seconds:g} s."
    return RateLimitExceeded(
        f"{where} has reached its rate limit at the vendor{told}{wait}", retry_after_seconds=seconds
    )


def _api_error(call: Call, clean: Exception, where: str, told: str) -> LLMAPIError:
    status = call.status
    if status is None and getattr(clean, "status_code", None) == 400:
        message = f"{where} cannot be asked this way: the request was refused before it was sent."
        return LLMAPIError(message, original_error=clean, is_retryable=False)
    if status is None:
        return _unreachable(clean, where)
    if status < 300:
        told = f", but not in its protocol{told}"
        remedy = "Check the provider's kind and its API base URL."
    elif status < 400:
        told = ", to send us elsewhere, which is not done."
        remedy = "Enter the final address as the API base URL."
    elif status >= 500:
        remedy = "Try again later."
    else:
        remedy = _REMEDIES.get(status, _REMEDIES[400])
    return LLMAPIError(
        f"{where} answered {status}{told} {remedy}",
        status_code=status,
        original_error=clean,
        retry_after_seconds=_retry_after(call.headers, "") if status >= 500 else None,
    )


def _unreachable(clean: Exception, where: str) -> LLMAPIError:
    message = f"{where} could not be reached, or broke off. Check its API base URL and that it is up."
    return LLMAPIError(message, original_error=clean)


def words_of(error: ZangoAIError) -> str:
    """What the provider itself said, for the round's row; credentials are already taken out."""
    return str(error.__cause__ or error)[:MAX_KEPT]


def scrub(exc: BaseException, cleaner: Cleaner) -> Exception:
    """``exc`` with nothing left on it that could show a credential.

    Tracebacks go (their frames hold the key as a local variable), so do requests, responses and causes. One that is
    not the vendor client's own may hold anything, and is replaced by its name and text.
    """
    root = type(exc).__module__.partition(".")[0]
    if root not in {"litellm", "openai"} or not isinstance(exc, Exception):
        return RuntimeError(f"{type(exc).__name__}: {cleaner.cleaned(str(exc))}")
    exc.__traceback__ = None
    exc.__cause__ = exc.__context__ = None
    cleaned = lru_cache(cleaner.cleaned)  # its message is on it more than once
    exc.args = tuple(cleaned(arg) if isinstance(arg, str) else type(arg).__name__ for arg in exc.args)
    for name, value in list(vars(exc).items()):
        if isinstance(value, str):
            setattr(exc, name, cleaned(value))
        elif not isinstance(value, (bool, int, float)):
            setattr(exc, name, [] if name == "__notes__" else None)
    return exc


def _retry_after(headers: Mapping[str, str], words: str) -> float | None:
    """Seconds, from ``retry-after-ms`` or ``Retry-After`` (RFC 9110: seconds or a date), or from the words."""
    milliseconds = _number(headers.get("retry-after-ms"))
    if milliseconds is not None:
        return milliseconds / 1000
    raw = headers.get("retry-after")
    seconds = _number(raw)
    if seconds is None and raw:
        seconds = _seconds_until(raw)
    if seconds is None:
        said = _DELAY.search(words)
        if said and (said[1] or said[2]):
            part = float(said[2] or 0) / (1000 if (said[3] or "").lower() == "ms" else 1)
            seconds = int(said[1] or 0) * 60 + part
    return seconds


def _number(raw: Any) -> float | None:
    try:
        value = max(float(raw), 0.0)
    except (TypeError, ValueError, OverflowError):
        return None
    return value if math.isfinite(value) else None


def _seconds_until(date: str) -> float | None:
    try:
        return max((parsedate_to_datetime(date) - datetime.now(UTC)).total_seconds(), 0.0)
    except (TypeError, ValueError, OverflowError):
        return None
