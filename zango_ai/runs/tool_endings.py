"""How a tool call ends: its status, what the model is told, and what staff see."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from .. import sanitize
from ..exceptions import ToolTimeout
from ..models import ToolCall
from ..tools import DeclaredTool, execution
from ..tools.decisions import Decision, Verdict
from ..tools.signature import ArgumentsInvalid

Status = ToolCall.Status
_MAX_ERROR_CHARS = 4_000


@dataclass(frozen=True, slots=True)
class Ending:
    """The end of one call."""

    status: str
    told: Any
    """What the model is told, as JSON."""
    error_message: str = ""
    traceback: str = ""
    duration_ms: int | None = None

    @property
    def columns(self) -> dict[str, Any]:
        """Of the call's row."""
        return {
            "status": str(self.status),
            "result": sanitize.document(self.told),
            "error_message": sanitize.text(self.error_message, _MAX_ERROR_CHARS),
            "traceback": self.traceback,
            "duration_ms": self.duration_ms,
        }


def ending(status: Status, words: str) -> Ending:
    """The model is told the words."""
    return Ending(status.value, {"error": status.value, "message": words}, words)


FAILED = ending(Status.ERROR, "The tool has failed. Go on without its result.")
INTERRUPTED = ending(Status.ERROR, "The run was interrupted while the tool worked.")
MADE_BEFORE = ending(Status.DENIED, "This call has been made already.")
NO_TOOLS_LEFT = ending(Status.DENIED, "No tool can be called any more.")
_TOO_LATE = ending(Status.TIMEOUT, "The tool did not finish in time.")


def unknown_tool(name: str) -> Ending:
    return ending(Status.DENIED, f"There is no tool {name[:100]!r}.")


def too_many(most: int) -> Ending:
    """Of the calls in one answer after the first ``most``."""
    words = f"Only the first {most} tool calls of an answer are made. Make this call in your next answer if needed."
    return ending(Status.DENIED, words)


def invalid_arguments(exc: ArgumentsInvalid) -> Ending:
    made = ending(Status.INVALID_ARGUMENTS, str(exc))
    return replace(made, told={**made.told, "reasons": exc.reasons})


def rate_limited(made: DeclaredTool, wait_s: float) -> Ending:
    again = f" Try again in {wait_s:.3g} s." if wait_s < 3_600 else ""
    words = f"The tool has a limit of {made.rate_limit} calls a minute, and it is used up.{again}"
    return ending(Status.RATE_LIMITED, words)


def not_approved(decision: Decision) -> Ending:
    if decision.verdict is Verdict.EXPIRED:
        return ending(Status.EXPIRED, "Nobody approved this call in time.")
    return ending(Status.DENIED, f"A person has not approved this call. {decision.reason}".rstrip())


def of_result(result: execution.Result) -> Ending:
    if result.error is None:
        return Ending(
            Status.SUCCESS.value, result.value, result.warning, result.traceback, duration_ms=result.duration_ms
        )
    made = _TOO_LATE if isinstance(result.error, ToolTimeout) else FAILED
    return replace(
        made, error_message=str(result.error), traceback=result.traceback, duration_ms=result.duration_ms
    )


def of_broken_validator(made: DeclaredTool, exc: Exception, shown: str) -> Ending:
    """A validator of the application's own has raised."""
    words = f"The arguments of tool {made.name!r} cannot be read: {type(exc).__name__}: {sanitize.shown(exc)}"
    return replace(FAILED, error_message=words, traceback=shown)
