"""Retries and fallbacks, as the log shows them."""

from decimal import Decimal

import pytest

from tests.build import API_KEY, make_agent, make_provider
from zango_ai import get_agent
from zango_ai.exceptions import LLMAPIError, LLMTimeoutError, RateLimitExceeded
from zango_ai.models import AgentConfig, Invocation, Provider
from zango_ai.testing import ModelServer, Reply

pytestmark = pytest.mark.usefixtures("north")


def rounds():
    return list(
        Invocation.objects.get().rounds.order_by("number").values_list("number", "provider_name", "model", "status")
    )


@pytest.mark.parametrize("fault", [Reply(status=503), Reply(hang_up=True), Reply(status=429)])
def test_every_try_is_a_round_and_the_answer_counts(model, fault):
    make_agent(model, provider=make_provider(model, max_retries=2))
    model.script(fault, fault, Reply("At last.", input_tokens=100, output_tokens=10))
    response = get_agent("helper").run("hi")
    assert response.content == "At last."
    assert [status for *_, status in rounds()][2] == "success"
    row = Invocation.objects.get()
    assert (row.rounds_count, row.status, row.input_tokens) == (3, "success", 100)
    assert row.cost_usd == Decimal("0.000021")  # a refused call is free, a broken one was not answered


def test_the_vendors_own_wait_is_kept(model):
    make_agent(model, provider=make_provider(model, max_retries=1))
    model.script(Reply(status=429, headers={"Retry-After": "1"}), "Done.")
    response = get_agent("helper").run("hi")
    assert response.content == "Done."
    assert response.latency_ms >= 1000


def test_a_wait_past_the_timeout_is_an_error_at_once(model):
    make_agent(model, provider=make_provider(model, max_retries=5), timeout_seconds=5)
    model.script(Reply(status=429, headers={"Retry-After": "60"}))
    with pytest.raises(RateLimitExceeded) as caught:
        get_agent("helper").run("hi")
    assert caught.value.retry_after_seconds == 60
    assert len(model.requests) == 1


def test_retries_stop_with_the_providers_number(model):
    make_agent(model, provider=make_provider(model, max_retries=1))
    model.script(Reply(status=500), Reply(status=500), "never asked")
    with pytest.raises(LLMAPIError):
        get_agent("helper").run("hi")
    assert len(model.requests) == 2


@pytest.fixture
def with_fallback(model):
    """An agent whose first provider is on ``model``; its second speaks another protocol on a server of its own."""
    config = make_agent(model, timeout_seconds=3)
    with ModelServer() as second:
        from django.conf import settings

        settings.ZANGO_AI["ALLOWED_API_BASES"].append(second.url)
        from zango_ai.conf import get_conf

        get_conf.cache_clear()
        backup = Provider.objects.create(
            name="backup",
            kind="anthropic",
            credentials={"api_key": API_KEY, "api_base": second.anthropic_base},
            default_model="claude-sonnet-4-5",
            max_retries=0,
        )
        config.fallbacks.create(provider=backup)
        yield second


@pytest.mark.parametrize("fault", [Reply(status=500), Reply(status=429), Reply(delay_s=8), Reply(hang_up=True)])
def test_the_fallback_answers_where_the_provider_cannot(model, with_fallback, fault):
    model.script(fault)
    with_fallback.script("From the backup.")
    response = get_agent("helper").run("hi")
    assert response.content == "From the backup."
    assert response.model == "claude-sonnet-4-5"
    first, second = rounds()
    assert first[1:3] == ("main", "gpt-4o-mini")
    assert second == (2, "backup", "claude-sonnet-4-5", "success")
    row = Invocation.objects.get()
    assert (row.provider_name, row.model, row.status) == ("backup", "claude-sonnet-4-5", "success")


def test_a_bad_request_does_not_go_to_the_fallback(model, with_fallback):
    model.script(Reply(status=400))
    with pytest.raises(LLMAPIError):
        get_agent("helper").run("hi")
    assert with_fallback.requests == []


def test_a_fallback_that_cannot_be_used_is_passed_over_for_the_next(model, with_fallback):
    backup = Provider.objects.get(name="backup")
    broken = Provider.objects.create(name="broken", kind="openai", default_model="gpt-4o")
    AgentConfig.objects.get().fallbacks.create(provider=broken, position=0)
    assert [f.provider for f in AgentConfig.objects.get().fallbacks.all()] == [broken, backup]
    model.script(Reply(status=500))
    with_fallback.script("From the backup.")
    assert get_agent("helper").run("hi").content == "From the backup."


def test_a_disabled_fallback_is_passed_over(model, with_fallback):
    Provider.objects.filter(name="backup").update(is_enabled=False)
    model.script(Reply(delay_s=8))
    with pytest.raises(LLMTimeoutError):
        get_agent("helper").run("hi")
    assert with_fallback.requests == []


def test_the_last_error_is_raised_where_nobody_can(model, with_fallback):
    model.script(Reply(status=500))
    with_fallback.script(Reply(status=529))
    with pytest.raises(LLMAPIError) as caught:
        get_agent("helper").run("hi")
    assert caught.value.status_code == 529
    assert [status for *_, status in rounds()] == ["failed", "failed"]
