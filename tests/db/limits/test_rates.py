"""Limits per minute. These tests commit, so that threads and processes meet at the same counters."""

import time
from collections import Counter
from datetime import timedelta

import pytest
from django.db.models import F
from django.utils import timezone

from tests.build import make_agent, make_provider
from tests.children import child, said
from tests.schemas import schema_context
from tests.together import run_together
from zango_ai import get_agent
from zango_ai.exceptions import LLMAPIError, RateLimitExceeded
from zango_ai.models import AgentConfig, Fallback, Invocation, Provider, ProviderModel, RateLimitState
from zango_ai.testing import Reply

pytestmark = pytest.mark.usefixtures("live_north")

SMALL = Reply("ok", input_tokens=40, output_tokens=10)


def make_limited_agent(model, **limits):
    return make_agent(model, provider=make_provider(model, **limits), max_tokens=50)


def outcome() -> str:
    try:
        get_agent("helper").run("hi")
    except RateLimitExceeded:
        return "limited"
    return "passed"


def let_pass(seconds: float) -> None:
    """Turn the clock of every limit on, instead of waiting."""
    by = timedelta(seconds=seconds)
    RateLimitState.objects.update(arrival_at=F("arrival_at") - by, busy_since=F("busy_since") - by)


def test_so_many_pass_at_once_and_then_one_for_each_share_of_a_minute(model):
    make_limited_agent(model, rate_limit_rpm=3)
    assert Counter(outcome() for _ in range(5)) == {"passed": 3, "limited": 2}
    let_pass(20)
    assert [outcome(), outcome()] == ["passed", "limited"]
    let_pass(3600)
    assert Counter(outcome() for _ in range(5)) == {"passed": 3, "limited": 2}


def test_what_is_limited_sends_nothing_and_says_how_long_to_wait(model):
    make_limited_agent(model, rate_limit_rpm=2)
    outcome(), outcome()
    with pytest.raises(RateLimitExceeded, match="limit of 2 requests per minute") as caught:
        get_agent("helper").run("hi")
    assert 25 < caught.value.retry_after_seconds <= 30
    assert caught.value.is_own_limit
    row = Invocation.objects.get(pk=caught.value.invocation_id)
    assert (row.status, row.rounds_count, row.cost_usd) == ("rate_limited", 0, 0)
    assert len(model.requests) == 2


def test_a_run_after_the_wait_that_was_named_passes(model):
    make_limited_agent(model, rate_limit_rpm=120)
    get_agent("helper").run("hi")
    RateLimitState.objects.update(arrival_at=F("arrival_at") + timedelta(seconds=57))  # as after 114 more
    waits = []
    for _ in range(40):
        try:
            get_agent("helper").run("hi")
        except RateLimitExceeded as exc:
            waits.append(exc.retry_after_seconds)
            time.sleep(exc.retry_after_seconds)
            get_agent("helper").run("hi")
        if len(waits) == 3:
            break
    assert len(waits) == 3
    assert all(0 < seconds <= 0.5 for seconds in waits)


@pytest.mark.parametrize("per_minute", [2, 7, 59])
def test_the_last_of_so_many_passes(model, per_minute):
    """Shares of a minute that are each rounded up would refuse it."""
    make_limited_agent(model, rate_limit_rpm=per_minute)
    outcome()
    RateLimitState.objects.update(
        arrival_at=F("arrival_at") + timedelta(seconds=60 / per_minute) * (per_minute - 2)
    )
    assert [outcome(), outcome()] == ["passed", "limited"]


def test_tokens_are_reserved_by_estimate_and_settled_by_what_was_used(model):
    make_limited_agent(model, rate_limit_tpm=120)
    model.script(SMALL, SMALL, SMALL)
    # Each is estimated at more than 70 and uses 50, so two do not fit by estimate, and do by use.
    assert [outcome(), outcome(), outcome()] == ["passed", "limited", "limited"]
    let_pass(15)  # 30 tokens
    assert outcome() == "passed"


def test_a_run_after_the_wait_for_tokens_passes(model):
    make_limited_agent(model, rate_limit_tpm=6000)
    RateLimitState.objects.create(key=f"provider:{Provider.objects.get().id}:tokens", per_minute=6000)
    RateLimitState.objects.update(arrival_at=F("arrival_at") + timedelta(seconds=59.9))
    with pytest.raises(RateLimitExceeded, match="6000 tokens per minute") as caught:
        get_agent("helper").run("hi")
    time.sleep(caught.value.retry_after_seconds)
    assert outcome() == "passed"


def test_a_call_larger_than_the_allowance_takes_a_whole_one(model):
    """It would never pass where it had to fit in."""
    make_limited_agent(model, rate_limit_tpm=30)
    model.script(SMALL, SMALL)
    assert [outcome(), outcome()] == ["passed", "limited"]
    let_pass(60)
    assert outcome() == "limited"  # the first one used 50 of 30
    let_pass(40)
    assert outcome() == "passed"


def test_tokens_that_the_vendor_did_not_use_are_given_back(model):
    make_limited_agent(model, rate_limit_tpm=100)
    model.script(Reply("down", status=503), Reply("down", status=400), SMALL)
    for _ in range(2):
        with pytest.raises(LLMAPIError):
            get_agent("helper").run("hi")
    assert outcome() == "passed"


def test_calls_that_take_long_are_settled_by_what_they_used_too(model):
    """Giving back only what a call's own time had not drained yet left most of the minute taken by estimates."""
    make_limited_agent(model, rate_limit_tpm=1200)  # each call is estimated at some 75 tokens
    model.script(*[Reply("ok", input_tokens=1, output_tokens=1, delay_s=1.5)] * 12)
    outcomes = []

    def ask():
        with schema_context("north"):
            outcomes.append(outcome())

    run_together([ask] * 12)
    assert outcomes == ["passed"] * 12
    taken_s = (RateLimitState.objects.get(key__endswith=":tokens").arrival_at - timezone.now()).total_seconds()
    assert taken_s < 12 * 2 * 60 / 1200


def test_what_has_drained_by_itself_is_not_given_back_again(model):
    """The limit was at rest while the call went on: what came after is not to be paid back to it."""
    make_limited_agent(model, rate_limit_tpm=600)
    model.script(Reply("late", input_tokens=1, output_tokens=1, delay_s=1), Reply("ok", output_tokens=500))

    def slow():
        with schema_context("north"):
            get_agent("helper").run("hi")

    def meanwhile():
        model.wait_for_requests(1)
        with schema_context("north"):
            RateLimitState.objects.update(arrival_at=timezone.now() - timedelta(seconds=1))  # as after a minute
            get_agent("helper").run("hi")

    run_together([slow, meanwhile])
    taken_s = (RateLimitState.objects.get(key__endswith=":tokens").arrival_at - timezone.now()).total_seconds()
    assert 45 < taken_s < 52  # 500 of 600 tokens


def test_a_limit_that_is_raised_counts_at_once(model):
    """Ten seconds of a small allowance are few tokens: kept as seconds, a mistyped limit would block for hours."""
    make_limited_agent(model, rate_limit_tpm=10)
    model.script(Reply("much", input_tokens=1000, output_tokens=1000))
    assert [outcome(), outcome()] == ["passed", "limited"]
    Provider.objects.update(rate_limit_tpm=1_000_000)
    assert outcome() == "passed"


def test_threads_share_a_limit(model):
    """Where a counter is read and then written, without a lock on it, all 40 pass."""
    make_limited_agent(model, rate_limit_rpm=10)
    outcomes = []

    def ask():
        with schema_context("north"):
            outcomes.append(outcome())

    run_together([ask] * 40)
    assert Counter(outcomes) == {"passed": 10, "limited": 30}


def test_processes_share_a_limit(model):
    make_limited_agent(model, rate_limit_rpm=9)
    code = """
from zango_ai.exceptions import RateLimitExceeded
from zango_ai.providers import litellm_import
litellm_import.load()
passed = 0
for _ in range(10):
    try:
        get_agent("helper").run("hi")
        passed += 1
    except RateLimitExceeded:
        pass
print(passed)
"""
    started = time.monotonic()
    with child(code) as one, child(code) as two:
        passed = int(said(one)) + int(said(two))
    back = (time.monotonic() - started) / (60 / 9)
    assert 9 <= passed <= 9 + back


def test_a_model_has_a_limit_of_its_own(model):
    provider = make_provider(model, rate_limit_rpm=100)
    ProviderModel.objects.create(provider=provider, model_id="gpt-4o-mini", rate_limit_rpm=1)
    ProviderModel.objects.create(provider=provider, model_id="gpt-4o")
    make_agent(model, provider=provider)
    assert [outcome(), outcome()] == ["passed", "limited"]
    AgentConfig.objects.update(model="gpt-4o")
    assert [outcome(), outcome()] == ["passed", "passed"]


def test_what_one_limit_refuses_takes_nothing_of_another(model):
    provider = make_provider(model, rate_limit_rpm=2)
    ProviderModel.objects.create(provider=provider, model_id="gpt-4o-mini", rate_limit_rpm=1)
    ProviderModel.objects.create(provider=provider, model_id="gpt-4o")
    make_agent(model, provider=provider)
    assert [outcome(), outcome(), outcome()] == ["passed", "limited", "limited"]
    AgentConfig.objects.update(model="gpt-4o")
    assert [outcome(), outcome()] == ["passed", "limited"]


def test_a_budget_that_refuses_takes_nothing_of_a_limit(model):
    make_limited_agent(model, rate_limit_rpm=1, monthly_budget_usd=0)
    with pytest.raises(Exception, match="budget"):
        get_agent("helper").run("hi")
    Provider.objects.update(monthly_budget_usd=None)
    assert outcome() == "passed"


def test_each_try_is_a_request(model):
    make_limited_agent(model, rate_limit_rpm=2, max_retries=2)
    down = Reply("down", status=503, headers={"retry-after": "0"})
    model.script(down, down, down)
    with pytest.raises(RateLimitExceeded) as caught:
        get_agent("helper").run("hi")
    row = Invocation.objects.get(pk=caught.value.invocation_id)
    assert (row.status, row.rounds.count(), len(model.requests)) == ("rate_limited", 2, 2)


def test_a_limit_of_ones_own_is_not_waited_for(model):
    """Who calls decides that: a web request would hang, and a task can be queued again."""
    make_limited_agent(model, rate_limit_rpm=60, max_retries=5)
    RateLimitState.objects.create(key=f"provider:{Provider.objects.get().id}:requests", per_minute=60)
    RateLimitState.objects.update(arrival_at=F("arrival_at") + timedelta(seconds=60))
    started = time.monotonic()
    assert outcome() == "limited"
    assert time.monotonic() - started < 0.9


def test_a_fallback_is_asked_where_a_limit_is_reached(model):
    agent = make_limited_agent(model, rate_limit_rpm=1)
    Fallback.objects.create(agent=agent, provider=make_provider(model, name="other"))
    assert [outcome(), outcome()] == ["passed", "passed"]
    assert Invocation.objects.order_by("-id")[0].provider_name == "other"


def test_a_limit_of_nothing_lets_nothing_pass(model):
    make_limited_agent(model, rate_limit_rpm=0)
    with pytest.raises(RateLimitExceeded, match="no request is sent") as caught:
        get_agent("helper").run("hi")
    assert caught.value.retry_after_seconds is None
    assert model.requests == []


def test_tenants_have_limits_of_their_own(model):
    make_limited_agent(model, rate_limit_rpm=1)
    with schema_context("south"):
        make_limited_agent(model, rate_limit_rpm=1)
    assert [outcome(), outcome()] == ["passed", "limited"]
    with schema_context("south"):
        assert [outcome(), outcome()] == ["passed", "limited"]
