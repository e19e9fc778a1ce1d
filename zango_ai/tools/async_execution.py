"""Execute an ``async def`` tool on the running event loop, within its time limit."""

from __future__ import annotations

import asyncio
import io
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol, TypeVar

from django.db import Error

from . import DeclaredTool, ToolSafety, results
from .borrowed_connection import TransactionBroken
from .execution import Failure, ToolResult, Work, failure_of, result_of
from .orm_thread import ToolTransaction
from .time_limit import GRACE_S, HEARTBEAT_S, Outcome

T = TypeVar("T")


class Caller(Protocol):
    """Where the synchronous parts of an async call are executed."""

    async def run(self, function: Callable[[], T]) -> T: ...

    def tool_transaction(
        self, *, is_read_only: bool, is_atomic: bool
    ) -> AbstractAsyncContextManager[ToolTransaction]: ...


class _RollBack(Exception):
    """Rolls back what the tool wrote."""


async def execute(
    tool: DeclaredTool,
    arguments: Mapping[str, Any],
    *,
    max_chars: int,
    heartbeat: Callable[[], None] | None,
    caller: Caller,
) -> ToolResult:
    """Execute the tool once; see ``execution.execute()``. Its ORM calls see the run's tenant."""
    started = time.monotonic()
    outcome, failure = Outcome(), None
    try:
        async with caller.tool_transaction(
            is_read_only=tool.safety is ToolSafety.READ_ONLY, is_atomic=tool.safety is ToolSafety.WRITE
        ):
            outcome = await _Call(tool, arguments, max_chars, heartbeat, caller).outcome()
            if outcome.is_timeout or outcome.error is not None:
                raise _RollBack
    except _RollBack:
        failure = None if outcome.error is None else failure_of(outcome.error)
    except TransactionBroken:
        failure = Failure("left its transaction broken: it caught a database error and went on", "")
    except Error as exc:
        failure = failure_of(exc)  # the commit failed
    return result_of(tool, Work(outcome, failure, []), started)


class _Call:
    def __init__(
        self,
        tool: DeclaredTool,
        arguments: Mapping[str, Any],
        max_chars: int,
        heartbeat: Callable[[], None] | None,
        caller: Caller,
    ) -> None:
        self._tool, self._arguments, self._max_chars = tool, arguments, max_chars
        self._heartbeat, self._caller = heartbeat, caller

    async def outcome(self) -> Outcome:
        task = asyncio.ensure_future(self._value())
        deadline = time.monotonic() + self._tool.timeout_seconds
        try:
            while (left_s := deadline - time.monotonic()) > 0 and not task.done():
                await asyncio.wait({task}, timeout=min(left_s, HEARTBEAT_S))
                if self._heartbeat is not None and not task.done() and deadline > time.monotonic():
                    await self._caller.run(self._heartbeat)
        except asyncio.CancelledError:
            await _stop(task)
            raise
        if task.done():
            return _outcome_of(task)
        stack = io.StringIO()
        task.print_stack(file=stack)
        is_stopped = await _stop(task)
        return Outcome(is_timeout=True, stack=stack.getvalue(), is_still_running=not is_stopped)

    async def _value(self) -> Any:
        value = await self._tool.function(**self._arguments)
        return results.truncate(results.to_json_value(value), self._max_chars)


async def _stop(task: asyncio.Task[Any]) -> bool:
    """Cancel the tool. Return whether it ended in time."""
    task.cancel()
    await asyncio.wait({task}, timeout=GRACE_S)
    if task.done() and not task.cancelled():
        task.exception()
    return task.done()


def _outcome_of(task: asyncio.Task[Any]) -> Outcome:
    if task.cancelled():
        return Outcome(error=asyncio.CancelledError("The tool was cancelled."))
    error = task.exception()
    return Outcome(error=error) if error is not None else Outcome(task.result())
