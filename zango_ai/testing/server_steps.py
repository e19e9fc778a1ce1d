"""Steps of a script as replies of the local model server."""

from __future__ import annotations

import math

from ..exceptions import (
    ContentPolicyViolation,
    ContextWindowExceeded,
    LLMAPIError,
    LLMTimeoutError,
    RateLimitExceeded,
)
from .replies import Reply
from .steps import Answer, Failure

_FINISH_REASONS = {"max_tokens": "length", "refusal": "content_filter"}
_NEVER_S = 86_400.0
_WORDS = {
    ContextWindowExceeded: "This model's maximum context length is exceeded.",
    ContentPolicyViolation: "The request violates the content policy.",
}
"""What vendors say in the errors that are recognized by their words."""


def as_reply(step: Answer | Failure) -> Reply:
    """Raises TypeError for an error that no server sends."""
    return _answer(step) if isinstance(step, Answer) else _failure(step)


def _answer(step: Answer) -> Reply:
    usage = step.usage
    return Reply(
        step.text if step.pieces or not step.calls else None,
        calls=step.calls,
        pieces=step.streamed_pieces,
        finish_reason=_FINISH_REASONS.get(step.stop_reason, "stop"),
        input_tokens=None if usage is None else usage.input_tokens,
        output_tokens=None if usage is None else usage.output_tokens,
        cache_read_tokens=0 if usage is None else usage.cache_read_tokens,
        cache_creation_tokens=0 if usage is None else usage.cache_creation_tokens,
    )


def _failure(step: Failure) -> Reply:
    error = step.error
    text = str(error)
    if step.after:
        raise TypeError("For a model server, script a stream that fails as Reply(pieces=[...], fails_after=...).")
    if isinstance(error, RateLimitExceeded):
        seconds = error.retry_after_seconds
        headers = {} if seconds is None else {"Retry-After": str(math.ceil(seconds))}
        return Reply(text, status=429, headers=headers)
    if isinstance(error, LLMTimeoutError):
        return Reply(text, delay_s=_NEVER_S)
    for kind, words in _WORDS.items():
        if isinstance(error, kind):
            return Reply(f"{words} {text}", status=400)
    if isinstance(error, LLMAPIError) and error.status_code is None:
        return Reply(text, hang_up=True)
    if isinstance(error, LLMAPIError) and error.status_code is not None and error.status_code >= 300:
        return Reply(text, status=error.status_code)
    raise TypeError(
        f"A model server cannot send {type(error).__name__}. It can send RateLimitExceeded, LLMTimeoutError, "
        "LLMAPIError with a status_code from 300 on, ContextWindowExceeded and ContentPolicyViolation."
    )
