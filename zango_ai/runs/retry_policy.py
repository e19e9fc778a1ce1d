"""Which errors of a run in the background are tried again later, and when."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from ..exceptions import LLMAPIError, LLMTimeoutError, RateLimitExceeded

_FIRST_WAIT_S = 10.0
_LONGEST_WAIT_S = 600.0
_WAIT_FOR_A_RATE_S = 30.0
_MOST_ASKED_S = 6 * 3600.0
"""A provider that asks for a longer wait will not answer this run."""


@dataclass(frozen=True, slots=True)
class Retries:
    """How often a run has been tried again, and how often it may be."""

    made: int
    most: int

    def allow(self, exc: BaseException) -> bool:
        return self.made < self.most and _may_pass(exc) and self.wait_s(exc) <= _MOST_ASKED_S

    def wait_s(self, exc: BaseException) -> float:
        """After how many seconds to try again: as long as the provider asks for, else longer each time."""
        asked = getattr(exc, "retry_after_seconds", None)
        if isinstance(asked, (int, float)):
            return max(float(asked), 0.001)
        first = _WAIT_FOR_A_RATE_S if isinstance(exc, RateLimitExceeded) else _FIRST_WAIT_S
        return float(min(first * 2**self.made, _LONGEST_WAIT_S))

    def next(self, exc: BaseException) -> dict[str, Any]:
        """What the row keeps of it: messages may come twice, and before their time."""
        at = datetime.now(UTC) + timedelta(seconds=self.wait_s(exc))
        return {"attempt": self.made + 1, "not_before": at.isoformat()}


def early_s(not_before: str | None) -> float:
    """How many seconds too early it is; 0 where it is not."""
    if not_before is None:
        return 0.0
    return max((datetime.fromisoformat(not_before) - datetime.now(UTC)).total_seconds(), 0.0)


def _may_pass(exc: BaseException) -> bool:
    """A rate limit, a timeout, a fault of the provider's. Not a bad request, a budget, a prompt."""
    if isinstance(exc, (RateLimitExceeded, LLMAPIError)):
        return exc.is_retryable
    return isinstance(exc, LLMTimeoutError)
