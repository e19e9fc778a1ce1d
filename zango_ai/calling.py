"""Call one tool: in the caller's tenant and transaction, within its time, without harm to either where it fails."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from django.db import Error

from . import lending, recordable
from .exceptions import ToolExecutionError, ToolTimeout
from .tools import DeclaredTool, ToolSafety, results, worker

_MAX_WORDS_CHARS = 2_000
_MAX_TRACEBACK_CHARS = 40_000
_READ_ONLY_TRANSACTION = "25006"


@dataclass(frozen=True, slots=True)
class Result:
    """What a tool has returned, as plain JSON; or why it has not."""

    value: Any = None
    error: ToolTimeout | ToolExecutionError | None = None
    warning: str = ""
    """What went wrong after the tool had done its work: an ``on_commit`` hook has raised."""
    traceback: str = ""
    duration_ms: int = 0


class _Raised(Exception):
    """What the tool has raised, in words: its own exception holds frames, and with them cursors."""

    def __init__(self, words: str, shown: str) -> None:
        super().__init__(words)
        self.words = words
        self.shown = shown


class _Undone(Exception):
    """Rolls back what the tool wrote."""


def call(
    made: DeclaredTool,
    arguments: Mapping[str, Any],
    *,
    max_chars: int,
    beat: Callable[[], None] | None = None,
) -> Result:
    """Call it once. Whatever it does is in the result, cut to ``max_chars``.

    What cuts into the caller's waiting (Ctrl-C, a task's time limit) is raised.
    """
    started = time.monotonic()
    outcome = worker.Outcome()
    failure: _Raised | None = None

    def function() -> Any:
        return _called(made, arguments, max_chars)

    try:
        lent = lending.Lent()
        with lent.transaction(
            is_read_only=made.safety is ToolSafety.READ_ONLY, is_atomic=made.safety is ToolSafety.WRITE
        ):
            outcome = worker.call(
                lambda: lent.use(function), timeout_s=made.timeout_seconds, unblock=lent.cancel, beat=beat
            )
            lent.is_left_behind = outcome.is_left_behind
            if outcome.interruption is not None:
                raise outcome.interruption
            if outcome.is_late or outcome.error is not None:
                raise _Undone
    except _Undone:
        failure = _of(outcome.error)
    except lending.TransactionBroken:
        failure = _Raised("has left its transaction broken: it did not let a database error through", "")
    except Error as exc:
        if exc is outcome.interruption:
            raise
        failure = _raised(exc)  # what it wrote cannot be committed, or the database is away
    error: ToolTimeout | ToolExecutionError | None = None
    shown = outcome.stack
    if outcome.is_late:
        error = _too_late(made, is_left_behind=outcome.is_left_behind)
    elif failure is not None:
        error, shown = ToolExecutionError(made.name, f"Tool {made.name!r} {failure.words}."), failure.shown
    value = None if error is not None else outcome.value
    shown = recordable.text(shown, _MAX_TRACEBACK_CHARS)
    return Result(value, error, traceback=shown, duration_ms=_ms_since(started))


def _called(made: DeclaredTool, arguments: Mapping[str, Any], max_chars: int) -> Any:
    """In the tool's thread, and so in its time: also what making JSON of the result and text of an error takes."""
    try:
        return results.cut(results.plain(made.function(**arguments)), max_chars)
    except worker.Stopped:
        raise
    except BaseException as exc:
        raised = _raised(exc)
        traceback.clear_frames(exc.__traceback__)
    raise raised


def _of(exc: BaseException | None) -> _Raised | None:
    return exc if exc is None or isinstance(exc, _Raised) else _raised(exc)


def _raised(exc: BaseException) -> _Raised:
    words = f"has raised {type(exc).__name__}: {recordable.shown(exc, _MAX_WORDS_CHARS)}"
    if getattr(exc.__cause__, "sqlstate", None) == _READ_ONLY_TRANSACTION:
        words += " (it is declared as READ_ONLY; one that writes is safety=ToolSafety.WRITE)"
    try:
        shown = "".join(traceback.format_exception(exc))
    except Exception:  # whatever a __str__ in it does
        shown = ""
    return _Raised(words, shown)


def _too_late(made: DeclaredTool, *, is_left_behind: bool) -> ToolTimeout:
    words = f"Tool {made.name!r} has not returned within {made.timeout_seconds:g} s."
    if is_left_behind:
        words += " It waits for something that cannot be interrupted, and was left to itself, without the database."
    return ToolTimeout(made.name, words)


def _ms_since(started: float) -> int:
    return round((time.monotonic() - started) * 1000)
