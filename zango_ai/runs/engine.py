"""The loop of a run, as a generator: it yields the steps to carry out, and is sent their results.

Ask the model. Execute the tool calls of its answer, and ask again with their results. Parse the final answer, and
ask the model to correct it if it is invalid.

The loop does no input or output and never waits: a driver does (see ``drivers``). An exception of a step is thrown
into the generator, so retries and fallbacks are decided here for every driver.
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

_MIN_WAIT_S = 0.25
_FIRST_WAIT_S = 0.5
_MAX_WAIT_S = 8.0
_MAX_LISTED_ERRORS = 20
_LESS_STRICT_JSON_FORMS = 2
"""After a JSON schema: the vendor's JSON mode, then the system prompt."""


@dataclass(frozen=True, slots=True)
class Ask:
    """Ask the target's model. The result is its ``ModelAnswer``."""

    target: Target
    request: ModelRequest


@dataclass(frozen=True, slots=True)
class Wait:
    """Wait that many seconds. The result is None."""

    seconds: float


@dataclass(frozen=True, slots=True)
class UseTools:
    """Execute the tool calls of an answer. The result is the messages to add to the next request.

    The result is None if a person must approve a call first. The run stops then, and is resumed later.
    """

    answer: ModelAnswer
    may_call: bool
    """False if no rounds of tool calls are left. The calls are refused, and the result is not used."""


@dataclass(frozen=True, slots=True)
class LoopState:
    """The state of the loop between two steps. A run can be stored and resumed from it."""

    request: ModelRequest
    """The next request."""
    tool_rounds_left: int
    output_retries_left: int
    pending_answer: ModelAnswer | None = None
    """An answer whose tool calls come before the next request."""
    has_used_tools: bool = False


Step = Ask | Wait | UseTools
Steps = Generator[Step, Any, ModelAnswer]
"""Yields steps, is sent their results, and returns the final answer."""


@dataclass(frozen=True, slots=True)
class Timing:
    """The sources of time and randomness. Tests pass their own."""

    now: Callable[[], float]
    """Seconds on a monotonic clock."""
    random: Callable[[], float]
    """A number from 0 up to 1."""


def run_loop(
    state: LoopState,
    targets: Sequence[Target],
    timing: Timing,
    read: Callable[[ModelAnswer], None],
    checkpoint: Callable[[LoopState], None],
) -> Steps:
    """Ask until ``read`` accepts the answer. If it raises, ask the model to correct the answer.

    ``checkpoint`` receives the state before each step from which the run can be resumed.
    """
    while True:
        checkpoint(state)
        answer: ModelAnswer = state.pending_answer or (yield from ask_targets(state.request, targets, timing))
        state = replace(state, pending_answer=None)
        if answer.tool_calls:
            messages = yield UseTools(answer, may_call=state.tool_rounds_left > 0)
            if messages is None:
                return replace(answer, stop_reason="approval_required")
            if state.tool_rounds_left > 0:
                state = _after_tool_round(state, messages)
                continue
        if state.has_used_tools and not state.tool_rounds_left:
            answer = replace(answer, stop_reason="max_tool_rounds")
        try:
            read(answer)
        except (OutputParseError, OutputValidationError) as exc:
            # After a cut-off or a refusal, the same request would end the same way.
            if not state.output_retries_left or answer.stop_reason in {"max_tokens", "refusal"}:
                raise
            state = _after_invalid_output(state, answer, exc)
        else:
            return answer


def _after_tool_round(state: LoopState, messages: Sequence[LLMMessage]) -> LoopState:
    """The next request has no tools after the last round of tool calls."""
    rounds_left = state.tool_rounds_left - 1
    request = replace(
        state.request,
        messages=(*state.request.messages, *messages),
        tools=state.request.tools if rounds_left else (),
    )
    return replace(state, request=request, tool_rounds_left=rounds_left, has_used_tools=True)


def _after_invalid_output(
    state: LoopState, answer: ModelAnswer, exc: OutputParseError | OutputValidationError
) -> LoopState:
    request = replace(state.request, messages=(*state.request.messages, *_correction_messages(answer, exc)))
    return replace(state, request=request, output_retries_left=state.output_retries_left - 1)


def _correction_messages(
    answer: ModelAnswer, exc: OutputParseError | OutputValidationError
) -> Iterator[LLMMessage]:
    if answer.content:
        yield LLMMessage("assistant", answer.content)
    listed = "\n".join(f"- {error}" for error in _output_errors(exc))
    yield LLMMessage("user", f"That JSON is not valid:\n{listed}\nReply again, with the JSON alone.")


def _output_errors(exc: OutputParseError | OutputValidationError) -> Iterable[str]:
    if isinstance(exc, OutputParseError):
        return [exc.reason]  # str(exc) also advises the developer
    return [f"{error['path']}: {error['message'][:300]}" for error in exc.errors[:_MAX_LISTED_ERRORS]]


def ask_targets(request: ModelRequest, targets: Sequence[Target], timing: Timing) -> Steps:
    """Ask the first target. If it fails and the request is not at fault, ask the next one.

    A fallback is skipped if its provider was disabled during the run.
    """
    last_error: ZangoAIError | None = None
    for target in targets:
        try:
            return (yield from _ask_target(target, request, timing))
        except ProviderDisabled:
            if last_error is None:
                raise
        except (RateLimitExceeded, BudgetExceeded, LLMTimeoutError) as exc:
            last_error = exc
        except LLMAPIError as exc:
            if not exc.is_retryable:
                raise
            last_error = exc
    assert last_error is not None
    raise last_error


def _ask_target(target: Target, request: ModelRequest, timing: Timing) -> Steps:
    """Ask one target, with retries. The request's timeout bounds all of them together."""
    deadline = timing.now() + request.timeout_s
    failures = refused_forms = 0
    while True:
        time_left_s = deadline - timing.now()
        try:
            answer: ModelAnswer = yield Ask(target, replace(request, model=target.model, timeout_s=time_left_s))
            return answer
        except (RateLimitExceeded, LLMAPIError) as exc:
            if _is_json_form_refused(exc) and refused_forms < _LESS_STRICT_JSON_FORMS and timing.now() < deadline:
                refused_forms += 1
                continue
            failures += 1
            wait_s = _wait_before_retry_s(exc, failures, timing)
            if failures > target.provider.max_retries or not _is_retryable(exc):
                raise
            if wait_s >= deadline - timing.now():
                raise
        yield Wait(wait_s)


def _is_json_form_refused(exc: RateLimitExceeded | LLMAPIError) -> bool:
    """Whether the provider refused the way of asking for JSON. The next call uses a less strict one."""
    return isinstance(exc, LLMAPIError) and exc.is_json_form_refused


def _is_retryable(exc: RateLimitExceeded | LLMAPIError) -> bool:
    """The tenant's own rate limit is not waited for: the caller decides whether to."""
    return exc.is_retryable and not (isinstance(exc, RateLimitExceeded) and exc.is_own_limit)


def _wait_before_retry_s(exc: RateLimitExceeded | LLMAPIError, failures: int, timing: Timing) -> float:
    """The wait that the provider asks for, or exponential backoff. A random part spreads concurrent callers."""
    if exc.retry_after_seconds is not None:
        return max(exc.retry_after_seconds, _MIN_WAIT_S) * (1 + timing.random() / 10)
    backoff_s: float = min(_FIRST_WAIT_S * 2 ** (failures - 1), _MAX_WAIT_S)
    return backoff_s * (1 - timing.random() / 2)
