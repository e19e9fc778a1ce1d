"""How a tool call can end: its status, what the model is told, and what staff see in the log."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from .. import redaction, sanitize
from ..exceptions import ToolTimeout
from ..models import ToolCall
from ..tools import DeclaredTool, execution
from ..tools.approval_decisions import ApprovalDecision, Verdict
from ..tools.parameters import InvalidArguments

Status = ToolCall.Status
_MAX_ERROR_CHARS = 4_000


@dataclass(frozen=True, slots=True)
class ToolCallOutcome:
    """How one call ended."""

    status: str
    result: Any
    """What the model is told, as JSON."""
    error_message: str = ""
    traceback: str = ""
    duration_ms: int | None = None

    @property
    def columns(self) -> dict[str, Any]:
        """The outcome's columns in the call's row."""
        return {
            "status": str(self.status),
            "result": redaction.document(self.result),
            "error_message": redaction.text(self.error_message, _MAX_ERROR_CHARS),
            "traceback": redaction.text(self.traceback),
            "duration_ms": self.duration_ms,
        }


def _error(status: Status, message: str) -> ToolCallOutcome:
    """An outcome that tells the model and staff the same message."""
    return ToolCallOutcome(status.value, {"error": status.value, "message": message}, message)


FAILED = _error(Status.ERROR, "The tool failed. Continue without its result.")
INTERRUPTED = _error(Status.ERROR, "The run was interrupted while the tool was running.")
ALREADY_EXECUTED = _error(Status.DENIED, "This call was already executed.")
NO_TOOLS_LEFT = _error(Status.DENIED, "No more tool calls are allowed.")
_TIMED_OUT = _error(Status.TIMEOUT, "The tool timed out.")


def unknown_tool(name: str) -> ToolCallOutcome:
    return _error(Status.DENIED, f"There is no tool {name[:100]!r}.")


def too_many_calls(max_calls: int) -> ToolCallOutcome:
    message = (
        f"Only the first {max_calls} tool calls of an answer are executed. "
        "If you still need this call, repeat it in your next answer."
    )
    return _error(Status.DENIED, message)


def invalid_arguments(exc: InvalidArguments) -> ToolCallOutcome:
    outcome = _error(Status.INVALID_ARGUMENTS, str(exc))
    return replace(outcome, result={**outcome.result, "reasons": exc.reasons})


def rate_limited(tool: DeclaredTool, wait_s: float) -> ToolCallOutcome:
    retry = f" Try again in {wait_s:.3g} s." if wait_s < 3_600 else ""
    return _error(
        Status.RATE_LIMITED, f"The tool's rate limit of {tool.rate_limit} calls per minute is reached.{retry}"
    )


def not_approved(decision: ApprovalDecision) -> ToolCallOutcome:
    if decision.verdict is Verdict.EXPIRED:
        return _error(Status.EXPIRED, "Nobody approved this call in time.")
    return _error(Status.DENIED, f"A person denied this call. {decision.reason}".rstrip())


def not_recorded(name: str, *, is_known: bool) -> ToolCallOutcome:
    """For a call of a replay that the recorded run has not made."""
    difference = "with other arguments" if is_known else "not at all"
    return _error(
        Status.ERROR, f"There is no result: the recorded run called the tool {name[:100]!r} {difference}."
    )


def of_result(result: execution.ToolResult) -> ToolCallOutcome:
    if result.error is None:
        return ToolCallOutcome(
            Status.SUCCESS.value, result.value, result.warning, result.traceback, duration_ms=result.duration_ms
        )
    outcome = _TIMED_OUT if isinstance(result.error, ToolTimeout) else FAILED
    return replace(
        outcome, error_message=str(result.error), traceback=result.traceback, duration_ms=result.duration_ms
    )


def with_changed_arguments(outcome: ToolCallOutcome, arguments: Any) -> ToolCallOutcome:
    """Tell the model that the tool was not called with its own arguments."""
    note = "A person changed the arguments before approving this call."
    return replace(outcome, result={"note": note, "arguments": arguments, "result": outcome.result})


def of_validator_error(tool: DeclaredTool, exc: Exception, traceback_text: str) -> ToolCallOutcome:
    """For an exception of the application's own validator, other than a validation error."""
    message = f"Checking the arguments of tool {tool.name!r} raised {type(exc).__name__}: {sanitize.shown(exc)}"
    return replace(FAILED, error_message=message, traceback=traceback_text)
