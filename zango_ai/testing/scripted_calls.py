"""Calls that a script answers in place of the provider, plain and streamed."""

from __future__ import annotations

import json
import math
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from decimal import Decimal
from types import TracebackType
from typing import Any, Protocol, Self

from ..exceptions import ZangoAIError
from ..providers import prices
from ..providers.call_trace import CallTrace
from ..providers.calls import PreparedCall
from ..types import Estimate, LLMUsage, ModelAnswer, ModelRequest, ToolRequest
from .asked import AskedRequest
from .steps import Answer, Failure
from .tool_call import Call


class Steps(Protocol):
    """Where a call takes its answer from."""

    def take(self, asked: AskedRequest) -> Answer | Failure: ...

    def new_call_id(self) -> str: ...


@dataclass(frozen=True, slots=True)
class CallInPlace:
    """A call that a run makes in place of the prepared one."""

    real: PreparedCall
    agent_name: str
    """``""`` for a direct call of a provider."""

    @property
    def request(self) -> ModelRequest:
        return self.real.request

    @property
    def estimate(self) -> Estimate:
        return self.real.estimate

    def new_trace(self) -> CallTrace:
        return self.real.new_trace()

    def asked(self, *, is_streamed: bool) -> AskedRequest:
        """What the call asks."""
        provider = self.real.provider
        return AskedRequest(self.request, self.agent_name, provider.name, provider.kind, is_streamed)


@dataclass(frozen=True, slots=True)
class ScriptedCall(CallInPlace):
    """One call to a model that takes its answer from a script when it is sent."""

    script: Steps

    def new_trace(self) -> CallTrace:
        trace = self.real.new_trace()
        trace.is_sent = True
        return trace

    def send(self, trace: CallTrace | None = None) -> ModelAnswer:
        step = self.take(is_streamed=False)
        if isinstance(step, Failure):
            raise self.error(step)
        return self.answer(step)

    async def send_async(self, trace: CallTrace | None = None) -> ModelAnswer:
        return self.send(trace)

    def stream(self) -> ScriptedStream:
        return ScriptedStream(self)

    def stream_async(self) -> ScriptedStream:
        return ScriptedStream(self)

    def take(self, *, is_streamed: bool) -> Answer | Failure:
        return self.script.take(self.asked(is_streamed=is_streamed))

    def error(self, step: Failure) -> Exception:
        if isinstance(step.error, ZangoAIError):
            step.error.request_params = self._params
        return step.error

    def answer(self, step: Answer, *, time_to_first_token_ms: int | None = None) -> ModelAnswer:
        requests = tuple(
            ToolRequest(call.id or self.script.new_call_id(), call.name, call.arguments_text) for call in step.calls
        )
        usage = step.usage or LLMUsage(
            _tokens(self._sent_texts()), _tokens([step.text, *map(_call_text, step.calls)])
        )
        return ModelAnswer(
            content=step.text,
            model=step.model or self.request.model,
            stop_reason=step.stop_reason,
            usage=usage,
            cost_usd=self._cost(usage) if step.cost_usd is None else step.cost_usd,
            request_params=self._params,
            tool_calls=requests,
            time_to_first_token_ms=time_to_first_token_ms,
        )

    def _cost(self, usage: LLMUsage) -> Decimal | None:
        return None if self.real.price is None else prices.cost_of(usage, self.real.price)

    def _sent_texts(self) -> Iterator[str]:
        for message in self.request.messages:
            yield from message.texts
        for tool in self.request.tools:
            yield json.dumps([tool.name, tool.description, tool.parameters])

    @property
    def _params(self) -> dict[str, Any]:
        request = self.request
        return {"model": request.model, "temperature": request.temperature, "max_tokens": request.max_tokens}


class ScriptedStream:
    """A scripted answer that is read in pieces, in a thread or on an event loop."""

    is_sent = True

    def __init__(self, call: ScriptedCall) -> None:
        self._call = call
        self._started = time.monotonic()
        self._step: Answer | Failure = Answer()
        self._given: list[str] = []
        self._first_token_ms: int | None = None
        self._answer: ModelAnswer | None = None

    @property
    def answer(self) -> ModelAnswer:
        """The whole answer, once the stream has ended. RuntimeError before that."""
        if self._answer is None:
            raise RuntimeError("The stream has not ended.")
        return self._answer

    @property
    def time_to_first_token_ms(self) -> int | None:
        return self._first_token_ms

    def partial(self) -> ModelAnswer:
        return self._answer or self._call.answer(
            Answer(pieces=self._given), time_to_first_token_ms=self._first_token_ms
        )

    def __enter__(self) -> Self:
        self._started = time.monotonic()
        self._step = self._call.take(is_streamed=True)
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Nothing is open."""

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Nothing is open."""

    def __iter__(self) -> Iterator[str]:
        step = self._step
        pieces = [step.after] if isinstance(step, Failure) else step.streamed_pieces
        for piece in filter(None, pieces):
            self._note_token()
            self._given.append(piece)
            yield piece
        if isinstance(step, Failure):
            raise self._call.error(step)
        if step.calls:
            self._note_token()
        self._answer = self._call.answer(step, time_to_first_token_ms=self._first_token_ms)

    async def __aiter__(self) -> AsyncIterator[str]:
        for piece in self:
            yield piece

    def _note_token(self) -> None:
        if self._first_token_ms is None:
            self._first_token_ms = round((time.monotonic() - self._started) * 1000)


def _call_text(call: Call) -> str:
    return call.name + call.arguments_text


def _tokens(texts: Any) -> int:
    """One token for four characters."""
    return math.ceil(sum(map(len, texts)) / 4)
