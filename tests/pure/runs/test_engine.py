"""The loop of a run: what is asked again, of whom, and when it is given up."""

from decimal import Decimal

import pytest

from zango_ai.exceptions import BudgetExceeded, LLMAPIError, LLMTimeoutError, RateLimitExceeded
from zango_ai.runs import drivers, engine
from zango_ai.types import LLMMessage, LLMUsage, ModelAnswer, ModelRequest, ProviderSpec, Target

REQUEST = ModelRequest("", (LLMMessage("user", "hi"),), temperature=0.0, max_tokens=5, timeout_s=30.0)
ANSWER = ModelAnswer("hello", "m", "end_turn", LLMUsage(1, 1), None, {})


def target(name, retries=2):
    provider = ProviderSpec(
        id=1, name=name, kind="openai", credentials={}, default_model="", is_enabled=True, max_retries=retries
    )
    return Target(provider, f"model-of-{name}")


class Story:
    """Plays the outside of a conversation: each reply is an answer, or an error to raise."""

    def __init__(self, *replies, seconds_per_call=0.0):
        self.replies = list(replies)
        self.seconds_per_call = seconds_per_call
        self.clock = 100.0
        self.asked = []
        self.waited = []

    def play(self, *targets):
        conversation = engine.ask_targets(REQUEST, targets, engine.Timing(lambda: self.clock, lambda: 0.0))
        step = next(conversation)
        try:
            while True:
                if isinstance(step, engine.Wait):
                    self.waited.append(step.seconds)
                    self.clock += step.seconds
                    step = conversation.send(None)
                    continue
                self.asked.append((step.request.model, step.request.timeout_s))
                self.clock += self.seconds_per_call
                reply = self.replies.pop(0)
                step = conversation.throw(reply) if isinstance(reply, Exception) else conversation.send(reply)
        except StopIteration as end:
            return end.value


def busy(seconds=None):
    return RateLimitExceeded("busy", retry_after_seconds=seconds)


def broken(status=500):
    return LLMAPIError("broken", status_code=status)


def test_one_question_gets_one_answer():
    story = Story(ANSWER)
    assert story.play(target("a")) is ANSWER
    assert story.asked == [("model-of-a", 30.0)]


@pytest.mark.parametrize("fault", [busy(), broken(500), broken(529), broken(None)])
def test_a_fault_that_may_pass_is_tried_again_after_a_growing_wait(fault):
    story = Story(fault, fault, ANSWER)
    assert story.play(target("a")) is ANSWER
    assert story.waited == [0.5, 1.0]
    assert [model for model, _ in story.asked] == ["model-of-a"] * 3


def test_the_wait_that_the_provider_asks_for_is_kept():
    story = Story(busy(7.0), ANSWER)
    story.play(target("a"))
    assert story.waited == [7.0]


@pytest.mark.parametrize("fault", [broken(400), broken(401), broken(404), broken(200), LLMTimeoutError("late")])
def test_a_fault_that_does_not_pass_is_not_tried_again(fault):
    story = Story(fault)
    with pytest.raises(type(fault)):
        story.play(target("a"))
    assert len(story.asked) == 1


def test_an_account_without_quota_is_not_asked_again():
    story = Story(RateLimitExceeded("no credit", is_retryable=False))
    with pytest.raises(RateLimitExceeded):
        story.play(target("a"))
    assert len(story.asked) == 1


@pytest.mark.parametrize("retries", [0, 1, 3])
def test_retries_end_with_the_providers_number_of_them(retries):
    story = Story(*[broken()] * 9)
    with pytest.raises(LLMAPIError):
        story.play(target("a", retries))
    assert len(story.asked) == 1 + retries


def test_a_wait_longer_than_the_time_that_is_left_is_not_begun():
    story = Story(busy(31.0))
    with pytest.raises(RateLimitExceeded):
        story.play(target("a"))
    assert story.waited == []


def test_all_tries_share_the_time_of_the_round():
    story = Story(broken(), broken(), ANSWER, seconds_per_call=5.0)
    story.play(target("a"))
    assert [left for *_, left in story.asked] == [30.0, 24.5, 18.5]


SPENT = BudgetExceeded("a", Decimal(1), "spent")


@pytest.mark.parametrize("fault", [busy(60.0), broken(500), broken(None), LLMTimeoutError("late"), SPENT])
def test_the_next_target_is_asked_where_the_first_cannot_answer(fault):
    story = Story(fault, ANSWER)
    assert story.play(target("a", 0), target("b")) is ANSWER
    assert story.asked == [("model-of-a", 30.0), ("model-of-b", 30.0)]


@pytest.mark.parametrize("fault", [broken(400), broken(401), ValueError("ours")])
def test_a_bad_request_is_not_carried_to_the_next_target(fault):
    story = Story(fault)
    with pytest.raises(type(fault)):
        story.play(target("a"), target("b"))
    assert len(story.asked) == 1


def test_the_last_error_is_raised_where_nobody_can_answer():
    last = broken(503)
    with pytest.raises(LLMAPIError) as caught:
        Story(busy(60.0), last).play(target("a", 0), target("b", 0))
    assert caught.value is last


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_what_asking_raises_ends_the_conversation(error):
    conversation = engine.ask_targets(REQUEST, [target("a")], engine.Timing(lambda: 0.0, lambda: 0.0))

    class Handlers:
        def ask(self, step):
            raise error

    with pytest.raises(error):
        drivers.exhaust(drivers.drive(conversation, Handlers()))
    assert conversation.gi_frame is None


def test_a_limit_of_ones_own_is_not_waited_for():
    fault = RateLimitExceeded("used up", retry_after_seconds=0.1, is_own_limit=True)
    story = Story(fault)
    with pytest.raises(RateLimitExceeded):
        story.play(target("a"))
    assert story.waited == []
