"""The one loop of the package, as a generator: it yields what it needs done and is sent the results.

Whoever drives it decides how to wait: ``drivers.drive`` blocks. A failure of what was asked for is thrown
into the generator, so that retries and fallbacks are decided here, once, for every way of driving.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import count

from ..exceptions import (
    BudgetExceeded,
    LLMAPIError,
    LLMTimeoutError,
    OutputParseError,
    OutputValidationError,
    RateLimitExceeded,
)
from ..types import LLMMessage, ModelAnswer, ModelRequest, Target

_SHORTEST_WAIT_S = 0.25
_FIRST_WAIT_S = 0.5
_LONGEST_WAIT_S = 8.0
_MOST_ERRORS = 20


@dataclass(frozen=True, slots=True)
class Ask:
    """Ask the target's model; send back its ModelAnswer."""

    target: Target
    request: ModelRequest


@dataclass(frozen=True, slots=True)
class Wait:
    """Let so many seconds pass; send back None."""

    seconds: float


Turns = Generator[Ask | Wait, ModelAnswer | None, ModelAnswer]
"""Yields steps, is sent their results, returns the answer that ends the run."""


@dataclass(frozen=True, slots=True)
class Chance:
    """What is not known beforehand; tests give it."""

    now: Callable[[], float]
    """Seconds on a clock that only goes forward."""
    random: Callable[[], float]
    """From 0 up to 1."""


def answer(
    request: ModelRequest,
    targets: Sequence[Target],
    chance: Chance,
    read: Callable[[ModelAnswer], None],
    retries: int,
) -> Turns:
    """Ask until ``read`` takes the answer; one that it does not goes back to the model with what is wrong."""
    for left in range(retries, -1, -1):
        said = yield from converse(request, targets, chance)
        try:
            read(said)
        except (OutputParseError, OutputValidationError) as exc:
            if not left or said.stop_reason in {"max_tokens", "refusal"}:  # the same question would end so again
                raise
            request = replace(request, messages=(*request.messages, *_correction(said, exc)))
        else:
            return said
    raise AssertionError("unreachable")


def _correction(said: ModelAnswer, exc: OutputParseError | OutputValidationError) -> Iterator[LLMMessage]:
    wrong = [str(exc)]
    if isinstance(exc, OutputValidationError):
        wrong = [f"{error['path']}: {error['message'][:300]}" for error in exc.errors[:_MOST_ERRORS]]
    if said.content:
        yield LLMMessage("assistant", said.content)
    listed = "\n".join(f"- {each}" for each in wrong)
    yield LLMMessage("user", f"That JSON is not what was asked for:\n{listed}\nReply again, with the JSON alone.")


def converse(request: ModelRequest, targets: Sequence[Target], chance: Chance) -> Turns:
    """Ask the first target; where it fails through no fault of the request, the next one."""
    for target in targets[:-1]:
        try:
            return (yield from _ask(target, request, chance))
        except (RateLimitExceeded, BudgetExceeded, LLMTimeoutError):
            continue
        except LLMAPIError as exc:
            if not exc.is_retryable:
                raise
    return (yield from _ask(targets[-1], request, chance))


def _ask(target: Target, request: ModelRequest, chance: Chance) -> Turns:
    """Ask one target, again after a fault that may pass; all of it within the request's time."""
    deadline = chance.now() + request.timeout_s
    for failures in count(1):
        left = deadline - chance.now()
        this = replace(request, model=target.model, timeout_s=left)
        try:
            answer = yield Ask(target, this)
            assert answer is not None
            return answer
        except (RateLimitExceeded, LLMAPIError) as exc:
            seconds = _wait_before_retry(exc, failures, chance)
            if failures > target.provider.max_retries or not _is_worth_retrying(exc):
                raise
            if seconds >= deadline - chance.now():
                raise
        yield Wait(seconds)
    raise AssertionError("unreachable")


def _is_worth_retrying(exc: RateLimitExceeded | LLMAPIError) -> bool:
    """A limit of the tenant's own is there to be kept: who calls decides whether to wait for it."""
    return exc.is_retryable and not (isinstance(exc, RateLimitExceeded) and exc.is_own_limit)


def _wait_before_retry(exc: RateLimitExceeded | LLMAPIError, failures: int, chance: Chance) -> float:
    """What the provider asks for, or twice as long each time; a random part of it spreads the callers."""
    if exc.retry_after_seconds is not None:
        return max(exc.retry_after_seconds, _SHORTEST_WAIT_S) * (1 + chance.random() / 10)
    longest: float = min(_FIRST_WAIT_S * 2 ** (failures - 1), _LONGEST_WAIT_S)
    return longest * (1 - chance.random() / 2)
