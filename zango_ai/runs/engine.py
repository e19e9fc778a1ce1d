"""The one loop of the package, as a generator: it yields what it needs done and is sent the results.

Ask the model; call the tools that it asks for, and ask again with their results; read its answer, and have it
corrected where it is not what it should be.

Whoever drives it decides how to wait: ``drivers.drive`` blocks. A failure of what was asked for is thrown
into the generator, so that retries and fallbacks are decided here, once, for every way of driving.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ..exceptions import (
    BudgetExceeded,
    LLMAPIError,
    LLMTimeoutError,
    OutputParseError,
    OutputValidationError,
    ProviderDisabled,
    RateLimitExceeded,
    ZangoAIError,
)
from ..types import LLMMessage, ModelAnswer, ModelRequest, Target

_SHORTEST_WAIT_S = 0.25
_FIRST_WAIT_S = 0.5
_LONGEST_WAIT_S = 8.0
_MOST_ERRORS = 20
_LOOSER_FORMS = 2
"""After a JSON schema there are the vendor's JSON mode and words."""


@dataclass(frozen=True, slots=True)
class Ask:
    """Ask the target's model; send back its ModelAnswer."""

    target: Target
    request: ModelRequest


@dataclass(frozen=True, slots=True)
class Wait:
    """Let so many seconds pass; send back None."""

    seconds: float


@dataclass(frozen=True, slots=True)
class UseTools:
    """Call the tools that an answer asks for; send back what is said of that, for the model to go on with.

    Send None where a person has to decide first: then the run ends here, and goes on later.
    """

    answer: ModelAnswer
    may_call: bool
    """False: it had been asked to answer without tools. None is called, and what is sent back is not used."""


@dataclass(frozen=True, slots=True)
class GoingOn:
    """Where the loop stands."""

    request: ModelRequest
    """What is asked next."""
    tool_rounds: int
    """So many rounds of tool calls are left."""
    corrections: int
    """So often may an answer that is not what it should be still go back."""
    waiting: ModelAnswer | None = None
    """An answer whose tool calls are to be made first."""
    has_used_tools: bool = False


Step = Ask | Wait | UseTools
Turns = Generator[Step, Any, ModelAnswer]
"""Yields steps, is sent their results, returns the answer that ends the run."""


@dataclass(frozen=True, slots=True)
class Chance:
    """What is not known beforehand; tests give it."""

    now: Callable[[], float]
    """Seconds on a clock that only goes forward."""
    random: Callable[[], float]
    """From 0 up to 1."""


def answer(
    start: GoingOn,
    targets: Sequence[Target],
    chance: Chance,
    read: Callable[[ModelAnswer], None],
    stand: Callable[[GoingOn], None],
) -> Turns:
    """Go on until ``read`` takes the answer; one that it does not goes back to the model with what is wrong.

    ``stand`` is told where the loop stands, before anybody is asked: from there it could begin anew.
    """
    at = start
    while True:
        stand(at)
        said: ModelAnswer = at.waiting or (yield from converse(at.request, targets, chance))
        at = replace(at, waiting=None)
        if said.tool_calls:
            told = yield UseTools(said, may_call=at.tool_rounds > 0)
            if told is None:
                return replace(said, stop_reason="approval_required")
            if at.tool_rounds > 0:
                at = _after_tools(at, told)
                continue
        if at.has_used_tools and not at.tool_rounds:
            said = replace(said, stop_reason="max_tool_rounds")
        try:
            read(said)
        except (OutputParseError, OutputValidationError) as exc:
            # Cut off or refused, the same question would end so again.
            if not at.corrections or said.stop_reason in {"max_tokens", "refusal"}:
                raise
            at = _after_correction(at, _correction(said, exc))
        else:
            return said


def _after_tools(at: GoingOn, told: Sequence[LLMMessage]) -> GoingOn:
    """After the last round of tool calls the model is asked once more, and given no tools."""
    left = at.tool_rounds - 1
    messages = (*at.request.messages, *told)
    request = replace(at.request, messages=messages, tools=at.request.tools if left else ())
    return replace(at, request=request, tool_rounds=left, has_used_tools=True)


def _after_correction(at: GoingOn, words: Iterable[LLMMessage]) -> GoingOn:
    request = replace(at.request, messages=(*at.request.messages, *words))
    return replace(at, request=request, corrections=at.corrections - 1)


def _correction(said: ModelAnswer, exc: OutputParseError | OutputValidationError) -> Iterator[LLMMessage]:
    if isinstance(exc, OutputParseError):
        wrong = [exc.reason]  # its message advises the operator as well
    else:
        wrong = [f"{error['path']}: {error['message'][:300]}" for error in exc.errors[:_MOST_ERRORS]]
    if said.content:
        yield LLMMessage("assistant", said.content)
    listed = "\n".join(f"- {each}" for each in wrong)
    yield LLMMessage("user", f"That JSON is not what was asked for:\n{listed}\nReply again, with the JSON alone.")


def converse(request: ModelRequest, targets: Sequence[Target], chance: Chance) -> Turns:
    """Ask the first target; where it fails through no fault of the request, the next one.

    A fallback whose provider was disabled during the run is skipped.
    """
    failure: ZangoAIError | None = None
    for target in targets:
        try:
            return (yield from _ask(target, request, chance))
        except ProviderDisabled:
            if failure is None:
                raise
        except (RateLimitExceeded, BudgetExceeded, LLMTimeoutError) as exc:
            failure = exc
        except LLMAPIError as exc:
            if not exc.is_retryable:
                raise
            failure = exc
    assert failure is not None
    raise failure


def _ask(target: Target, request: ModelRequest, chance: Chance) -> Turns:
    """Ask one target, again after a fault that may pass; all of it within the request's time."""
    deadline = chance.now() + request.timeout_s
    failures = refusals = 0
    while True:
        left = deadline - chance.now()
        this = replace(request, model=target.model, timeout_s=left)
        try:
            answer: ModelAnswer = yield Ask(target, this)
            return answer
        except (RateLimitExceeded, LLMAPIError) as exc:
            if _is_worth_rephrasing(exc) and refusals < _LOOSER_FORMS and chance.now() < deadline:
                refusals += 1
                continue
            failures += 1
            seconds = _wait_before_retry(exc, failures, chance)
            if failures > target.provider.max_retries or not _is_worth_retrying(exc):
                raise
            if seconds >= deadline - chance.now():
                raise
        yield Wait(seconds)


def _is_worth_rephrasing(exc: RateLimitExceeded | LLMAPIError) -> bool:
    """Whether the provider refused the form in which JSON was asked for: the next call uses a looser one."""
    return isinstance(exc, LLMAPIError) and exc.is_json_form_refused


def _is_worth_retrying(exc: RateLimitExceeded | LLMAPIError) -> bool:
    """A limit of the tenant's own is there to be kept: who calls decides whether to wait for it."""
    return exc.is_retryable and not (isinstance(exc, RateLimitExceeded) and exc.is_own_limit)


def _wait_before_retry(exc: RateLimitExceeded | LLMAPIError, failures: int, chance: Chance) -> float:
    """What the provider asks for, or twice as long each time; a random part of it spreads the callers."""
    if exc.retry_after_seconds is not None:
        return max(exc.retry_after_seconds, _SHORTEST_WAIT_S) * (1 + chance.random() / 10)
    longest: float = min(_FIRST_WAIT_S * 2 ** (failures - 1), _LONGEST_WAIT_S)
    return longest * (1 - chance.random() / 2)
