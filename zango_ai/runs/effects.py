"""What a run waits for: the provider, a tool, the clock.

The handlers of a run yield effects, and are sent their results. A driver carries them out: in the calling thread,
or on the caller's event loop. Everything else that a run does is the same code for both.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Generator, Mapping
from typing import Any

from .. import interruption
from ..providers.call_trace import CallTrace
from ..telemetry import Step
from ..tools import DeclaredTool, async_execution, execution
from ..tools.execution import ToolResult
from ..types import LLMStreamChunk, ModelAnswer
from .async_context import AsyncContext
from .stream_chunks import StreamChunks
from .substitution import Call, StreamedCall


class Send:
    """Send a call to the provider. The result is the ``ModelAnswer``."""

    def __init__(self, call: Call, step: Step) -> None:
        self._call, self._step = call, step
        self._trace: CallTrace | None = None

    @property
    def is_sent(self) -> bool:
        """Whether any byte of the request was sent."""
        return self._trace is not None and self._trace.is_sent

    def partial(self) -> None:
        """Nothing is known of an answer before it is complete."""

    def carry_out(self) -> ModelAnswer:
        self._trace = self._call.new_trace()
        with self._step.active():
            return self._call.send(self._trace)

    async def carry_out_async(self, context: AsyncContext) -> ModelAnswer:
        self._trace = self._call.new_trace()
        with self._step.active():
            return await self._call.send_async(self._trace)


class Sleep:
    """Wait so many seconds. There is no result."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    def carry_out(self) -> None:
        interruption.sleep(self._seconds)

    async def carry_out_async(self, context: AsyncContext) -> None:
        await asyncio.sleep(self._seconds)


class Execute:
    """Execute a tool. The result is its ``ToolResult``."""

    def __init__(
        self,
        tool: DeclaredTool,
        arguments: Mapping[str, Any],
        *,
        max_chars: int,
        heartbeat: Callable[[], None] | None,
        step: Step,
    ) -> None:
        self._tool, self._arguments, self._step = tool, arguments, step
        self._options: dict[str, Any] = {"max_chars": max_chars, "heartbeat": heartbeat}

    def carry_out(self) -> ToolResult:
        with self._step.active():
            return execution.execute(self._tool, self._arguments, **self._options)

    async def carry_out_async(self, context: AsyncContext) -> ToolResult:
        if self._tool.is_async:
            with self._step.active():
                return await async_execution.execute(self._tool, self._arguments, caller=context, **self._options)
        return await context.run_tool(self.carry_out)


class InThread:
    """Call a function that waits and uses the database. The result is what it returns."""

    def __init__(self, function: Callable[[], Any]) -> None:
        self._function = function

    def carry_out(self) -> Any:
        return self._function()

    async def carry_out_async(self, context: AsyncContext) -> Any:
        return await context.run_tool(self._function)


Effect = Send | Sleep | Execute | InThread


class Read:
    """Send a call with streaming, and yield a chunk for each piece of text. The result is the ``ModelAnswer``."""

    def __init__(self, call: Call, chunks: StreamChunks) -> None:
        self._call, self._chunks = call, chunks
        self._answer: StreamedCall | None = None

    @property
    def is_sent(self) -> bool:
        """Whether any byte of the request was sent."""
        return self._answer is not None and self._answer.is_sent

    @property
    def time_to_first_token_ms(self) -> int | None:
        """Since the call was sent. None as long as the model has produced nothing."""
        return None if self._answer is None else self._answer.time_to_first_token_ms

    def partial(self) -> ModelAnswer | None:
        """What has arrived so far. None as long as the model has produced nothing."""
        if self._answer is None or self._answer.time_to_first_token_ms is None:
            return None
        return self._answer.partial()

    def result(self) -> ModelAnswer:
        """The whole answer, after the last chunk."""
        assert self._answer is not None
        return self._answer.answer

    def chunks(self) -> Generator[LLMStreamChunk, None, None]:
        self._answer = answer = self._call.stream()
        with answer:
            for text in answer:
                yield self._chunks.text(text)

    async def chunks_async(self) -> AsyncGenerator[LLMStreamChunk, None]:
        self._answer = answer = self._call.stream_async()
        async with answer:
            async for text in answer:
                yield self._chunks.text(text)
