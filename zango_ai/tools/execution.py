"""Call one tool: in the caller's tenant and transaction, within its time, without harm to either where it fails."""

from __future__ import annotations

import logging
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from django.db import Error

from .. import sanitize
from ..exceptions import ToolExecutionError, ToolTimeout
from . import DeclaredTool, ToolSafety, borrowed_connection, results, worker

logger = logging.getLogger("zango_ai.tools")

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
    work = _worked(
        lambda: results.cut(results.plain(made.function(**arguments)), max_chars),
        timeout_s=made.timeout_seconds,
        beat=beat,
        is_read_only=made.safety is ToolSafety.READ_ONLY,
        is_atomic=made.safety is ToolSafety.WRITE,
    )
    error, shown = _error_of(made, work)
    warning = ""
    if error is None and work.hooks:
        left_s = made.timeout_seconds - (time.monotonic() - started)
        after = _worked(lambda: borrowed_connection.run_hooks(work.hooks), timeout_s=max(left_s, 0.0), beat=beat)
        warning, shown = _warning_of(made, after)
    value = None if error is not None else work.outcome.value
    shown = sanitize.text(shown, _MAX_TRACEBACK_CHARS)
    return Result(value, error, warning, traceback=shown, duration_ms=_ms_since(started))


@dataclass(frozen=True, slots=True)
class _Work:
    """How a function has ended that was called with the caller's connection."""

    outcome: worker.Outcome
    failure: _Raised | None
    hooks: list[Any]


def _worked(
    function: Callable[[], Any],
    *,
    timeout_s: float,
    beat: Callable[[], None] | None,
    is_read_only: bool = False,
    is_atomic: bool = False,
) -> _Work:
    outcome, failure, hooks = worker.Outcome(), None, []
    try:
        lent = borrowed_connection.Lent()
        with lent.transaction(is_read_only=is_read_only, is_atomic=is_atomic):
            outcome = worker.call(
                lambda: lent.use(lambda: _called(function)), timeout_s=timeout_s, unblock=lent.cancel, beat=beat
            )
            if outcome.interruption is not None:
                raise outcome.interruption
            if outcome.is_late or outcome.error is not None:
                raise _Undone
        hooks = lent.hooks
    except _Undone:
        failure = _of(outcome.error)
    except borrowed_connection.TransactionBroken:
        failure = _Raised("has left its transaction broken: it did not let a database error through", "")
    except Error as exc:
        if exc is outcome.interruption:
            raise
        failure = _raised(exc)  # what it wrote cannot be committed, or the database is away
    return _Work(outcome, failure, hooks)


def _error_of(made: DeclaredTool, work: _Work) -> tuple[ToolTimeout | ToolExecutionError | None, str]:
    """The call's error, and its traceback."""
    if work.outcome.is_late:
        return _too_late(made, is_left_behind=work.outcome.is_left_behind), work.outcome.stack
    if work.failure is not None:
        return ToolExecutionError(made.name, f"Tool {made.name!r} {work.failure.words}."), work.failure.shown
    return None, ""


def _warning_of(made: DeclaredTool, after: _Work) -> tuple[str, str]:
    """What went wrong with a tool's ``on_commit`` hooks, and where. The tool has done its work by then."""
    if after.outcome.is_late:
        words = f"The on_commit hooks have not returned within {made.timeout_seconds:g} s of the call"
        shown = after.outcome.stack
    elif after.failure is not None:
        words, shown = f"An on_commit hook {after.failure.words}", after.failure.shown
    else:
        return "", ""
    logger.error("Tool %r has done its work and is committed. %s.", made.name, words)
    return f"{words}. The tool has done its work and is committed.", shown


def _called(function: Callable[[], Any]) -> Any:
    """In the tool's thread, and so in its time: also what making JSON of the result and text of an error takes."""
    try:
        return function()
    except worker.Stopped:
        raise
    except BaseException as exc:
        raised = _raised(exc)
        traceback.clear_frames(exc.__traceback__)
    raise raised


def _of(exc: BaseException | None) -> _Raised | None:
    return exc if exc is None or isinstance(exc, _Raised) else _raised(exc)


def _raised(exc: BaseException) -> _Raised:
    words = f"has raised {type(exc).__name__}: {sanitize.shown(exc, _MAX_WORDS_CHARS)}"
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
