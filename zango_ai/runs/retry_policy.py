"""Which errors of a background run are retried, and when."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from ..exceptions import LLMAPIError, LLMTimeoutError, RateLimitExceeded

_FIRST_WAIT_S = 10.0
_MAX_WAIT_S = 600.0
_FIRST_WAIT_FOR_RATE_LIMIT_S = 30.0
MAX_RETRY_AFTER_S = 6 * 3600.0
"""If a provider asks for a longer wait, the run fails."""


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Whether and when a run is retried."""

    attempt: int
    """How many times the run has been retried."""
    max_retries: int
    max_wait_s: float = MAX_RETRY_AFTER_S
    lot: float = field(default_factory=random.random)
    """From 0 to 1: where in the time over which retries are spread."""

    def allow(self, exc: BaseException) -> bool:
        return self.attempt < self.max_retries and _is_transient(exc) and self.wait_s(exc) <= self.max_wait_s

    def wait_s(self, exc: BaseException) -> float:
        """How many seconds to wait: as long as the provider asks for, else exponential backoff.

        The tenant's own limit names the next free moment to all that are waiting, and only one of them gets it. So
        their retries are spread over a time that doubles with each.
        """
        retry_after_s = getattr(exc, "retry_after_seconds", None)
        if isinstance(retry_after_s, (int, float)):
            wait_s = max(float(retry_after_s), 0.001)
            if isinstance(exc, RateLimitExceeded) and exc.is_own_limit:
                wait_s += self.lot * min(wait_s * 2**self.attempt, _MAX_WAIT_S)
            return wait_s
        first_s = _FIRST_WAIT_FOR_RATE_LIMIT_S if isinstance(exc, RateLimitExceeded) else _FIRST_WAIT_S
        return float(min(first_s * 2**self.attempt, _MAX_WAIT_S))

    def next_attempt(self, exc: BaseException) -> dict[str, Any]:
        """Fields of ``RunState``. With them, a message that is delivered too early or twice starts no attempt."""
        not_before = datetime.now(UTC) + timedelta(seconds=self.wait_s(exc))
        return {"attempt": self.attempt + 1, "not_before": not_before.isoformat()}


def seconds_until(not_before: str | None) -> float:
    """How many seconds remain until that ISO 8601 time; 0 if it is None or has passed."""
    if not_before is None:
        return 0.0
    return max((datetime.fromisoformat(not_before) - datetime.now(UTC)).total_seconds(), 0.0)


def _is_transient(exc: BaseException) -> bool:
    """A rate limit, a timeout or a server error; not a bad request, a budget or a prompt."""
    if isinstance(exc, (RateLimitExceeded, LLMAPIError)):
        return exc.is_retryable
    return isinstance(exc, LLMTimeoutError)
