"""Which errors of a run in the background are tried again later, and when."""

from __future__ import annotations

from dataclasses import dataclass

from .exceptions import LLMAPIError, LLMTimeoutError, RateLimitExceeded

_FIRST_WAIT_S = 10.0
_LONGEST_WAIT_S = 600.0
_WAIT_FOR_A_RATE_S = 30.0


@dataclass(frozen=True, slots=True)
class Retries:
    """How often it may still be tried, and how often it has been."""

    made: int
    most: int

    def allow(self, exc: BaseException) -> bool:
        return self.made < self.most and may_pass(exc)

    def wait_s(self, exc: BaseException) -> float:
        """After how many seconds to try again: as long as the provider asks for, else longer each time."""
        asked = getattr(exc, "retry_after_seconds", None)
        if isinstance(asked, (int, float)):
            return max(float(asked), 0.0)
        first = _WAIT_FOR_A_RATE_S if isinstance(exc, RateLimitExceeded) else _FIRST_WAIT_S
        return float(min(first * 2**self.made, _LONGEST_WAIT_S))


def may_pass(exc: BaseException) -> bool:
    """A rate limit, a timeout, a fault of the provider's. Not a bad request, a budget, a prompt."""
    if isinstance(exc, (RateLimitExceeded, LLMAPIError)):
        return exc.is_retryable
    return isinstance(exc, LLMTimeoutError)
