"""Translate litellm's exceptions into ours: by what a caller can do about them, and without credentials.

The HTTP status and the headers decide, because litellm raises different exceptions for the same fault of different
vendors. litellm's class decides only where the status says too little.
"""

from __future__ import annotations

import asyncio
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
from . import private_attributes
from .call_trace import CallTrace
from .real_calls import RealProviderCall
from .vendor_messages import MAX_KEPT, Cleaner, message_in

CLASSES: dict[str, type[ZangoAIError]] = {
    "ContextWindowExceededError": ContextWindowExceeded,
    "ContentPolicyViolationError": ContentPolicyViolation,
    "Timeout": LLMTimeoutError,
    "RateLimitError": RateLimitExceeded,
}
"""litellm's classes that say more than the status. All others become LLMAPIError."""

_REMEDIES = {
    400: "The vendor refused the request. Check the agent's model and settings.",
    401: "The vendor rejected the API key. Enter a valid key in the provider's credentials.",
    403: "The API key is not allowed to do this. Check the key's permissions at the vendor.",
    404: "The vendor knows no such model or address. Check the agent's model and the provider's API base URL.",
    408: "The vendor timed out. Try again later.",
    413: "The request is too large. Send less.",
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
_CALL_PACKAGES = {
    *("litellm", "openai", "httpx", "httpcore", "h11", "h2", "anyio", "idna", "certifi", "urllib3", "aiohttp"),
    *("pydantic", "pydantic_core", "botocore", "boto3", "jsonschema", "tiktoken", "tokenizers", "zango_ai"),
    *("brotli", "zstandard"),
}
"""The packages, besides the standard library, whose exceptions are errors of the call."""
_NOT_OF_THE_CALL = (private_attributes.UnknownRelease, RealProviderCall)
"""Exceptions of our own that reach the caller unchanged."""


def of_call(
    exc: BaseException,
    trace: CallTrace,
    caught_before: BaseException | None,
    *,
    provider_name: str,
    where: str,
    cleaner: Cleaner,
    is_v1_missing: bool = False,
) -> BaseException:
    """The exception to raise for ``exc``. ``caught_before`` is the one that the caller was handling already.

    ``is_v1_missing``: whether the address lacks the path with which that of a self-hosted server usually ends.
    """
    foreign = foreign_cause(exc, caught_before)
    if foreign is not None:
        return foreign
    try:
        error = translate(exc, trace, provider_name=provider_name, where=where, cleaner=cleaner)
    except Exception as own:  # the vendor's response broke the translation: show nothing of it
        error = LLMAPIError(f"{where} failed, and its error could not be read ({type(own).__name__}).")
    if is_v1_missing and isinstance(error, LLMAPIError) and error.status_code == 404:
        error.args = (f"{error} The address of such a server usually ends in /v1.",)
    error.request_params = trace.request_params
    error.may_be_billed = _may_be_billed(trace)
    return error


def _may_be_billed(trace: CallTrace) -> bool:
    """Whether the vendor may charge: after a timeout, half a response, or a response that cannot be read.

    A server that closes the connection before it responds has failed, as with a 5xx, and charges nothing.
    """
    if trace.timed_out:
        return trace.is_sent
    return trace.is_broken or (trace.status is not None and (trace.status < 300 or trace.status in {408, 504, 524}))


def foreign_cause(exc: BaseException, caught_before: BaseException | None = None) -> BaseException | None:
    """The exception in the chain of ``exc`` that is no error of the call, without its frames: Ctrl-C, a time limit.

    A vendor's client wraps whatever is raised while it waits. The search ends at ``caught_before``.
    """
    current: BaseException | None = exc
    while current is not None and current is not caught_before:
        root = type(current).__module__.partition(".")[0]
        is_foreign = not isinstance(current, Exception) or isinstance(current, _NOT_OF_THE_CALL)
        if isinstance(current, asyncio.CancelledError):  # async clients implement their timeouts with it
            is_foreign = current is exc
        if is_foreign or not (root in _CALL_PACKAGES or root in sys.stdlib_module_names):
            return without_frames(current)
        current = current.__cause__ or current.__context__
    return None


def without_frames(exc: BaseException) -> BaseException:
    """``exc`` without its traceback, cause and context."""
    exc.__cause__ = exc.__context__ = None
    return exc.with_traceback(None)


def translate(
    exc: BaseException, trace: CallTrace, *, provider_name: str, where: str, cleaner: Cleaner
) -> ZangoAIError:
    """Our error for litellm's exception, with the vendor's own message as far as it may be shown."""
    clean = scrub(exc, cleaner)
    message = cleaner.shown(message_in(trace.error_event or trace.body))
    quote = f': "{message}".' if message else "."
    if trace.unreachable is not None:
        trace.unreachable = cleaner.cleaned(trace.unreachable)
    error = _error(CLASSES.get(type(exc).__name__), trace, clean, provider_name, where, quote)
    error.__cause__ = clean
    return error


def _error(
    known: type[ZangoAIError] | None, trace: CallTrace, clean: Exception, provider_name: str, where: str, quote: str
) -> ZangoAIError:
    """``quote`` ends a sentence, with the vendor's message if there is one."""
    words = str(clean)
    if trace.refusal is not None:
        message = f"Provider {provider_name!r} has an API base URL that cannot be used. {trace.refusal}"
        return ProviderConfigInvalid(provider_name, message, field="api_base")
    if trace.unreadable is not None:
        message = f"{where} sent {trace.unreadable}."
        return LLMAPIError(message, status_code=trace.status, original_error=clean, is_retryable=False)
    if trace.watch.refused is not None and not trace.is_sent:
        message = f"{where} cannot be called: litellm tried to {trace.watch.refused}, which is not allowed."
        return ProviderConfigInvalid(provider_name, message)
    if trace.timed_out and trace.unreachable is not None:
        return LLMTimeoutError(_unreachable_message(where, trace.unreachable))
    if trace.timed_out or (known is LLMTimeoutError and trace.status is None):
        return LLMTimeoutError(
            f"{where} did not answer in time. Raise the agent's timeout_seconds, or request a shorter answer."
        )
    if trace.is_broken:
        return _unreachable(clean, where, trace)
    if trace.status == 429:
        return _rate_limited(trace.headers, words, where, quote)
    refused = trace.status in {400, 413, 422}
    if known is ContextWindowExceeded or (refused and _CONTEXT.search(words)):
        message = (
            f"{where} cannot take so much text at once{quote} Send less, or choose a model with a larger context "
            "window."
        )
        return ContextWindowExceeded(message, status_code=trace.status, original_error=clean)
    if known is ContentPolicyViolation or (refused and _POLICY.search(words)):
        message = f"{where} refused the content under its policy{quote} Change the prompt or the input."
        return ContentPolicyViolation(message, status_code=trace.status, original_error=clean)
    return _api_error(trace, clean, where, quote)


def _rate_limited(headers: Mapping[str, str], words: str, where: str, quote: str) -> RateLimitExceeded:
    seconds = _retry_after(headers, words)
    # Some vendors also write "quota" about a limit per minute, but then they name a time to wait.
    if seconds is None and _NO_QUOTA.search(words):
        message = f"{where} has no quota left at the vendor{quote} Waiting does not help: add credit at the vendor."
        return RateLimitExceeded(message, is_retryable=False)
    wait = "" if seconds is None else f" Try again in {seconds:g} s."
    return RateLimitExceeded(
        f"{where} has reached its rate limit at the vendor{quote}{wait}", retry_after_seconds=seconds
    )


def _api_error(trace: CallTrace, clean: Exception, where: str, quote: str) -> LLMAPIError:
    status = trace.status
    if status is None and getattr(clean, "status_code", None) == 400:
        message = (
            f"{where} cannot be called with these settings: litellm refused the request before it was sent. Check "
            "the agent's settings."
        )
        return LLMAPIError(message, original_error=clean, is_retryable=False)
    if status is None:
        return _unreachable(clean, where, trace)
    if trace.error_event:
        message = f"{where} stopped its answer with an error{quote} Try again later."
        return LLMAPIError(message, original_error=clean)
    if status < 300:
        quote = f", but not in its protocol{quote}"
        remedy = "Check the provider's kind and its API base URL."
    elif status < 400:
        quote = " with a redirect, which is not followed."
        remedy = "Enter the final address as the API base URL."
    elif status >= 500:
        remedy = "Try again later."
    else:
        remedy = _REMEDIES.get(status, _REMEDIES[400])
    return LLMAPIError(
        f"{where} answered {status}{quote} {remedy}",
        status_code=status,
        original_error=clean,
        retry_after_seconds=_retry_after(trace.headers, "") if status >= 500 else None,
    )


def _unreachable(clean: Exception, where: str, trace: CallTrace) -> LLMAPIError:
    return LLMAPIError(_unreachable_message(where, trace.unreachable), original_error=clean)


def _unreachable_message(where: str, reason: str | None) -> str:
    problem = ", or the connection broke off" if reason is None else f": {reason}"
    return f"{where} could not be reached{problem}. Check its API base URL, and that the server is up."


def vendor_message(error: ZangoAIError) -> str:
    """The vendor's own message, for the round's row. Credentials are already masked."""
    return str(error.__cause__ or error)[:MAX_KEPT]


def scrub(exc: BaseException, cleaner: Cleaner) -> Exception:
    """``exc`` without anything that could show a credential: no traceback, cause, request or response.

    An exception of another package than litellm and openai may hold anything. It is replaced by its name and text.
    """
    root = type(exc).__module__.partition(".")[0]
    if root not in {"litellm", "openai"} or not isinstance(exc, Exception):
        return RuntimeError(f"{type(exc).__name__}: {cleaner.cleaned(str(exc))}")
    exc.__traceback__ = None
    exc.__cause__ = exc.__context__ = None
    cleaned = lru_cache(cleaner.cleaned)  # the same message is in several attributes
    exc.args = tuple(cleaned(arg) if isinstance(arg, str) else type(arg).__name__ for arg in exc.args)
    for name, value in list(vars(exc).items()):
        if isinstance(value, str):
            setattr(exc, name, cleaned(value))
        elif not isinstance(value, (bool, int, float)):
            setattr(exc, name, [] if name == "__notes__" else None)
    return exc


def _retry_after(headers: Mapping[str, str], words: str) -> float | None:
    """Seconds, from ``retry-after-ms`` or ``Retry-After`` (RFC 9110: seconds or a date), or from the message."""
    milliseconds = _number(headers.get("retry-after-ms"))
    if milliseconds is not None:
        return milliseconds / 1000
    raw = headers.get("retry-after")
    seconds = _number(raw)
    if seconds is None and raw:
        seconds = _seconds_until(raw)
    if seconds is None:
        delay = _DELAY.search(words)
        if delay and (delay[1] or delay[2]):
            part = float(delay[2] or 0) / (1000 if (delay[3] or "").lower() == "ms" else 1)
            seconds = int(delay[1] or 0) * 60 + part
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
