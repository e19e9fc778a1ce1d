"""Execute one tool call in the caller's tenant and transaction, within the tool's time limit.

A tool that fails or times out leaves neither the caller's transaction nor its connection damaged.
"""

from __future__ import annotations

import asyncio
import logging
import time
import traceback
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from asgiref.sync import async_to_sync
from django.db import Error

from .. import sanitize
from ..exceptions import ToolExecutionError, ToolTimeout
from . import DeclaredTool, ToolSafety, borrowed_connection, results, time_limit

logger = logging.getLogger("zango_ai.tools")

_MAX_MESSAGE_CHARS = 2_000
_MAX_TRACEBACK_CHARS = 40_000
_READ_ONLY_TRANSACTION = "25006"
"""PostgreSQL's code for a write in a read-only transaction."""


@dataclass(frozen=True, slots=True)
class ToolResult:
    """A tool's return value as JSON, or the error that it ended with."""

    value: Any = None
    error: ToolTimeout | ToolExecutionError | None = None
    warning: str = ""
    """An ``on_commit`` hook that failed after the tool's work was committed."""
    traceback: str = ""
    duration_ms: int = 0


class Failure(Exception):
    """A tool's exception as text. The exception itself would keep its frames, and so their cursors, alive."""

    def __init__(self, message: str, traceback_text: str) -> None:
        super().__init__(message)
        self.message = message
        self.traceback_text = traceback_text


class _RollBack(Exception):
    """Rolls back what the tool wrote."""


def execute(
    tool: DeclaredTool,
    arguments: Mapping[str, Any],
    *,
    max_chars: int,
    heartbeat: Callable[[], None] | None = None,
) -> ToolResult:
    """Execute the tool once. The result holds its value, shortened to ``max_chars``, or its error.

    Raises only what interrupts the waiting caller: Ctrl-C, a Celery task's time limit.
    """
    started = time.monotonic()
    loop_call = _LoopCall(tool) if tool.is_async else None
    call = loop_call or tool.function
    work = _run_with_connection(
        lambda: results.truncate(results.to_json_value(call(**arguments)), max_chars),
        timeout_s=tool.timeout_seconds,
        heartbeat=heartbeat,
        is_read_only=tool.safety is ToolSafety.READ_ONLY,
        is_atomic=tool.safety is ToolSafety.WRITE,
        cancel=None if loop_call is None else loop_call.cancel,
    )
    return result_of(tool, work, started, heartbeat)


class _LoopCall:
    """Calls an ``async def`` tool from a thread. Its ORM calls are executed in that thread."""

    def __init__(self, tool: DeclaredTool) -> None:
        self._tool = tool
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[Any] | None = None

    def __call__(self, **arguments: Any) -> Any:
        return async_to_sync(self._run, force_new_loop=True)(arguments)

    async def _run(self, arguments: Mapping[str, Any]) -> Any:
        self._loop, self._task = asyncio.get_running_loop(), asyncio.current_task()
        return await self._tool.function(**arguments)

    def cancel(self) -> None:
        """Cancel the tool, once. Call this in another thread."""
        loop, task, self._task = self._loop, self._task, None
        if loop is not None and task is not None:
            with suppress(RuntimeError):  # the loop has ended
                loop.call_soon_threadsafe(task.cancel)


def result_of(
    tool: DeclaredTool, work: Work, started: float, heartbeat: Callable[[], None] | None = None
) -> ToolResult:
    """The tool's result. Runs the ``on_commit`` hooks that are due."""
    error, traceback_text = _error_of(tool, work)
    warning = ""
    if error is None and work.hooks:
        remaining_s = max(tool.timeout_seconds - (time.monotonic() - started), 0.0)
        hooks_work = _run_with_connection(
            lambda: borrowed_connection.run_hooks(work.hooks), timeout_s=remaining_s, heartbeat=heartbeat
        )
        warning, traceback_text = _warning_of(tool, hooks_work)
    value = None if error is not None else work.outcome.value
    traceback_text = sanitize.text(traceback_text, _MAX_TRACEBACK_CHARS)
    return ToolResult(value, error, warning, traceback=traceback_text, duration_ms=_ms_since(started))


@dataclass(frozen=True, slots=True)
class Work:
    """How a function ended that ran with the caller's connection."""

    outcome: time_limit.Outcome
    failure: Failure | None
    hooks: list[Any]
    """``on_commit`` hooks that are now due."""


def _run_with_connection(
    function: Callable[[], Any],
    *,
    timeout_s: float,
    heartbeat: Callable[[], None] | None,
    is_read_only: bool = False,
    is_atomic: bool = False,
    cancel: Callable[[], None] | None = None,
) -> Work:
    """``cancel`` stops a function that cannot be interrupted from outside."""
    outcome, failure, hooks = time_limit.Outcome(), None, []
    try:
        borrowed = borrowed_connection.BorrowedConnection()

        def unblock() -> None:
            borrowed.cancel()
            if cancel is not None:
                cancel()

        with borrowed.transaction(is_read_only=is_read_only, is_atomic=is_atomic):
            outcome = time_limit.call(
                lambda: borrowed.use(lambda: _run_in_thread(function)),
                timeout_s=timeout_s,
                unblock=unblock,
                heartbeat=heartbeat,
                is_interruptible=cancel is None,
            )
            if outcome.interruption is not None:
                raise outcome.interruption
            if outcome.is_timeout or outcome.error is not None:
                raise _RollBack
        hooks = borrowed.hooks
    except _RollBack:
        failure = _as_failure(outcome.error)
    except borrowed_connection.TransactionBroken:
        failure = Failure("left its transaction broken: it caught a database error and went on", "")
    except Error as exc:
        if exc is outcome.interruption:
            raise
        failure = failure_of(exc)  # the commit failed, or the database is unreachable
    return Work(outcome, failure, hooks)


def _error_of(tool: DeclaredTool, work: Work) -> tuple[ToolTimeout | ToolExecutionError | None, str]:
    """The call's error and its traceback."""
    if work.outcome.is_timeout:
        return _timeout_of(tool, is_still_running=work.outcome.is_still_running), work.outcome.stack
    if work.failure is not None:
        message = f"Tool {tool.name!r} {work.failure.message}."
        return ToolExecutionError(tool.name, message), work.failure.traceback_text
    return None, ""


def _warning_of(tool: DeclaredTool, hooks_work: Work) -> tuple[str, str]:
    """What went wrong in the tool's ``on_commit`` hooks, and its traceback."""
    if hooks_work.outcome.is_timeout:
        message = f"The on_commit hooks did not finish within the tool's {tool.timeout_seconds:g} s"
        traceback_text = hooks_work.outcome.stack
    elif hooks_work.failure is not None:
        message = f"An on_commit hook {hooks_work.failure.message}"
        traceback_text = hooks_work.failure.traceback_text
    else:
        return "", ""
    logger.error("Tool %r succeeded and is committed. %s.", tool.name, message)
    return f"{message}. The tool itself succeeded and is committed.", traceback_text


def _run_in_thread(function: Callable[[], Any]) -> Any:
    """Call the function. The time limit also covers formatting its exception, which runs the exception's code."""
    try:
        return function()
    except time_limit.Stopped:
        raise
    except BaseException as exc:
        failure = failure_of(exc)
        traceback.clear_frames(exc.__traceback__)
    raise failure


def _as_failure(exc: BaseException | None) -> Failure | None:
    return exc if exc is None or isinstance(exc, Failure) else failure_of(exc)


def failure_of(exc: BaseException) -> Failure:
    message = f"raised {type(exc).__name__}: {sanitize.shown(exc, _MAX_MESSAGE_CHARS)}"
    if getattr(exc.__cause__, "sqlstate", None) == _READ_ONLY_TRANSACTION:
        message += " (the tool is declared as READ_ONLY; declare it with safety=ToolSafety.WRITE)"
    try:
        traceback_text = "".join(traceback.format_exception(exc))
    except Exception:  # formatting calls the exception's own __str__
        traceback_text = ""
    return Failure(message, traceback_text)


def _timeout_of(tool: DeclaredTool, *, is_still_running: bool) -> ToolTimeout:
    message = f"Tool {tool.name!r} did not finish within {tool.timeout_seconds:g} s."
    if is_still_running:
        message += " It is blocked in code that cannot be interrupted. It keeps running without the database."
    return ToolTimeout(tool.name, message)


def _ms_since(started: float) -> int:
    return round((time.monotonic() - started) * 1000)
