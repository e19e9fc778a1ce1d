"""Call one tool: in the caller's tenant and transaction, within its time, without harm to either where it fails."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from django.db import DatabaseError

from . import lending, recordable
from .exceptions import ToolExecutionError, ToolTimeout
from .tools import DeclaredTool, ToolSafety, results, worker

_MAX_TRACEBACK_CHARS = 40_000
_READ_ONLY_TRANSACTION = "25006"


@dataclass(frozen=True, slots=True)
class Result:
    """What a tool has returned, as plain JSON; or why it has not."""

    value: Any = None
    error: ToolTimeout | ToolExecutionError | None = None
    traceback: str = ""
    duration_ms: int = 0


class _Undone(Exception):
    """Rolls back what the tool wrote."""


def call(made: DeclaredTool, arguments: Mapping[str, Any], *, beat: Callable[[], None] | None = None) -> Result:
    """Call it once. Whatever it does is in the result; what cuts into the caller's waiting is raised."""
    started = time.monotonic()
    outcome = worker.Outcome()
    error: ToolTimeout | ToolExecutionError | None = None
    cause: BaseException | None = None
    try:
        lent = lending.Lent()
        with lent.transaction(
            is_read_only=made.safety is ToolSafety.READ_ONLY, is_atomic=made.safety is ToolSafety.WRITE
        ):
            outcome = worker.call(
                lambda: lent.use(lambda: results.plain(made.function(**arguments))),
                timeout_s=made.timeout_seconds,
                unblock=lent.cancel,
                beat=beat,
            )
            lent.is_left_behind = outcome.is_left_behind
            if outcome.is_late or outcome.error is not None:
                raise _Undone
    except _Undone:
        cause = outcome.error
    except lending.TransactionBroken:
        error = _failed(made, "has left its transaction broken: a database error in it was not let through")
    except DatabaseError as exc:  # what it wrote cannot be committed, or the database is away
        cause = exc
    if outcome.is_late:
        error = _too_late(made, is_left_behind=outcome.is_left_behind)
    elif cause is not None:
        error = _failed(made, _words_of(cause))
    shown = (
        "" if cause is None else recordable.text("".join(traceback.format_exception(cause)), _MAX_TRACEBACK_CHARS)
    )
    return Result(outcome.value, error, shown, round((time.monotonic() - started) * 1000))


def _traceback_of(exc: BaseException | None) -> str:
    if exc is None:
        return ""
    return recordable.text("".join(traceback.format_exception(exc)), _MAX_TRACEBACK_CHARS)


def _words_of(exc: BaseException) -> str:
    words = f"has raised {type(exc).__name__}: {recordable.shown(exc, 2_000)}"
    if getattr(exc.__cause__, "sqlstate", None) == _READ_ONLY_TRANSACTION:
        words += " (it is declared as READ_ONLY; one that writes is safety=ToolSafety.WRITE)"
    return words


def _failed(made: DeclaredTool, words: str) -> ToolExecutionError:
    return ToolExecutionError(made.name, f"Tool {made.name!r} {words}.")


def _too_late(made: DeclaredTool, *, is_left_behind: bool) -> ToolTimeout:
    words = f"Tool {made.name!r} has not returned within {made.timeout_seconds:g} s."
    if is_left_behind:
        words += " It waits for something that cannot be interrupted, and was left to itself, without the database."
    return ToolTimeout(made.name, words)
