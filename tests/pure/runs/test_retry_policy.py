"""How long a background run waits before it is tried again."""

import pytest

from zango_ai.exceptions import LLMTimeoutError, RateLimitExceeded
from zango_ai.runs.retry_policy import RetryPolicy


@pytest.mark.parametrize(("attempt", "latest_s"), [(0, 12), (1, 18), (4, 102), (20, 606)])
def test_runs_that_the_same_own_limit_refused_come_back_at_different_times(attempt, latest_s):
    refused = RateLimitExceeded("Full.", retry_after_seconds=6, is_own_limit=True)
    waits = [RetryPolicy(attempt, 5).wait_s(refused) for _ in range(500)]
    assert all(6 <= wait <= latest_s for wait in waits)
    assert min(waits) < 6 + (latest_s - 6) * 0.1
    assert max(waits) > 6 + (latest_s - 6) * 0.9


def test_a_policy_waits_as_long_as_it_has_said():
    policy = RetryPolicy(0, 5)
    refused = RateLimitExceeded("Full.", retry_after_seconds=6, is_own_limit=True)
    assert policy.wait_s(refused) == policy.wait_s(refused)


def test_a_providers_limit_is_waited_for_as_it_asks_and_other_errors_for_longer_each_time():
    assert RetryPolicy(3, 5).wait_s(RateLimitExceeded("Busy.", retry_after_seconds=6)) == 6
    assert [RetryPolicy(attempt, 5).wait_s(LLMTimeoutError("Late.")) for attempt in range(3)] == [10, 20, 40]
