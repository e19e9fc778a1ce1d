"""litellm's exceptions become ours: named by what a caller can do about them, and without credentials."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from ..exceptions import LLMAPIError, LLMTimeoutError, RateLimitExceeded, ZangoAIError

_REMEDIES = {
    400: "It refused the request as malformed. The round's error_message holds its words.",
    401: "It rejected the API key. Enter a valid key in the provider's credentials.",
    403: "The API key is not allowed to do this. Check the key's permissions at the vendor.",
    404: "It knows no such model or address. Check the agent's model and the provider's API base URL.",
    408: "It gave up waiting. Try again later.",
    413: "The request is too large for it. Send less.",
}
_MASK = "[credential]"
_MAX_WORDS = 2_000


def translate(exc: Exception, *, provider_name: str, model: str, secrets: Iterable[str]) -> ZangoAIError:
    """The error to raise for an exception of litellm's. ``secrets`` are blotted out wherever they appear."""
    status, seconds, unreachable = _status(exc), _retry_after(_headers(exc)), _never_connected(exc)
    clean = scrub(exc, secrets)  # takes from it what was read above
    where = f"Provider {provider_name!r} (model {model!r})"
    litellm_name = type(exc).__name__
    if status == 429:
        wait = "" if seconds is None else f" Try again in {seconds:g} s."
        error: ZangoAIError = RateLimitExceeded(
            f"{where} has reached its rate limit at the vendor.{wait}", retry_after_seconds=seconds
        )
    elif litellm_name == "Timeout" or "timeout" in litellm_name.lower():
        error = LLMTimeoutError(
            f"{where} did not answer in time. Raise the agent's timeout_seconds, or ask for less."
        )
    elif litellm_name == "APIConnectionError" or status is None or unreachable:
        error = LLMAPIError(
            f"{where} could not be reached, or broke off. Check its API base URL and that it is up.",
            original_error=clean,
        )
    else:
        remedy = _REMEDIES.get(status) or ("It has failed. Try again later." if status >= 500 else _REMEDIES[400])
        error = LLMAPIError(f"{where} answered {status}. {remedy}", status_code=status, original_error=clean)
    error.__cause__ = clean
    return error


def words_of(error: ZangoAIError) -> str:
    """What the provider itself said, for the round's row; credentials are already taken out."""
    return str(error.__cause__ or error)[:_MAX_WORDS]


def scrub(exc: Exception, secrets: Iterable[str]) -> Exception:
    """``exc`` itself, with nothing left on it that could show a credential.

    Tracebacks go (their frames hold the key as a local variable), so do requests, responses and causes.
    """
    exc.__traceback__ = None
    exc.__cause__ = exc.__context__ = None
    exc.__notes__ = []
    exc.args = tuple(mask(arg, secrets) if isinstance(arg, str) else repr(type(arg)) for arg in exc.args)
    for name, value in list(vars(exc).items()):
        if isinstance(value, str):
            setattr(exc, name, mask(value, secrets))
        elif name == "__notes__" or isinstance(value, (bool, int, float)):
            continue
        else:
            setattr(exc, name, None)
    return exc


def mask(text: str, secrets: Iterable[str]) -> str:
    for secret in sorted(secrets, key=len, reverse=True):
        if secret:
            text = text.replace(secret, _MASK)
    return text


def _status(exc: Exception) -> int | None:
    status = getattr(exc, "status_code", None)
    if isinstance(status, int):
        return status
    # An error inside a 200 comes with the vendor's word for it instead of a number.
    return 500 if isinstance(status, str) else None


def _never_connected(exc: Exception) -> bool:
    """litellm reports a refused connection as a 500 of the vendor; the cause tells the difference."""
    seen: BaseException | None = exc
    while seen is not None:
        if type(seen).__name__ in {"ConnectError", "APIConnectionError", "ConnectionRefusedError"}:
            return True
        seen = seen.__cause__ or seen.__context__
    return bool(re.search(r"connection error", str(exc), re.IGNORECASE))


def _headers(exc: Exception) -> Mapping[str, Any]:
    headers = getattr(exc, "litellm_response_headers", None)
    if headers is None:
        headers = getattr(getattr(exc, "response", None), "headers", None)
    return headers if isinstance(headers, Mapping) else {}


def _retry_after(headers: Mapping[str, Any]) -> float | None:
    raw = next((str(value) for key, value in headers.items() if key.lower() == "retry-after"), None)
    if raw is None:
        return None
    try:
        return max(float(raw), 0.0)
    except ValueError:
        pass
    try:
        return max((parsedate_to_datetime(raw) - datetime.now(UTC)).total_seconds(), 0.0)
    except (TypeError, ValueError):
        return None
