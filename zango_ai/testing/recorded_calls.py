"""Calls that ask the real provider, and are recorded on a cassette."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Generic, Protocol, Self, TypeVar

from ..exceptions import ZangoAIError
from ..providers.call_trace import CallTrace
from ..providers.calls import PreparedCall
from ..providers.streaming import AnswerStream, AsyncAnswerStream
from ..types import ModelAnswer
from .asked import AskedRequest
from .scripted_calls import CallInPlace

Stream = TypeVar("Stream", AnswerStream, AsyncAnswerStream)


class Record(Protocol):
    """Records what came of one call."""

    def __call__(
        self,
        call: PreparedCall,
        asked: AskedRequest,
        outcome: ModelAnswer | ZangoAIError,
        pieces: Sequence[str] | None = None,
    ) -> None: ...


@dataclass(frozen=True, slots=True)
class RecordedCall(CallInPlace):
    """One call to the provider."""

    record: Record

    def send(self, trace: CallTrace | None = None) -> ModelAnswer:
        try:
            return self._noted(self.real.send(trace))
        except ZangoAIError as exc:
            self.note(exc)
            raise

    async def send_async(self, trace: CallTrace | None = None) -> ModelAnswer:
        try:
            return self._noted(await self.real.send_async(trace))
        except ZangoAIError as exc:
            self.note(exc)
            raise

    def stream(self) -> RecordedStream:
        return RecordedStream(self, self.real.stream())

    def stream_async(self) -> AsyncRecordedStream:
        return AsyncRecordedStream(self, self.real.stream_async())

    def _noted(self, answer: ModelAnswer) -> ModelAnswer:
        self.note(answer)
        return answer

    def note(self, outcome: ModelAnswer | ZangoAIError, pieces: Sequence[str] | None = None) -> None:
        self.record(self.real, self.asked(is_streamed=pieces is not None), outcome, pieces)


class _Recorded(Generic[Stream]):
    """A stream of the provider, and the pieces of its text so far. It is recorded when it is left."""

    def __init__(self, call: RecordedCall, real: Stream) -> None:
        self._call = call
        self._real: Stream = real
        self._pieces: list[str] = []

    @property
    def answer(self) -> ModelAnswer:
        return self._real.answer

    @property
    def is_sent(self) -> bool:
        return self._real.is_sent

    @property
    def time_to_first_token_ms(self) -> int | None:
        return self._real.time_to_first_token_ms

    def partial(self) -> ModelAnswer:
        return self._real.partial()

    def _note(self, exc: BaseException | None) -> None:
        """Record the answer or the error; of a stream that was closed early, what had arrived."""
        outcome = exc if isinstance(exc, ZangoAIError) else self._real.partial()
        self._call.note(outcome, self._pieces)


class RecordedStream(_Recorded[AnswerStream]):
    def __enter__(self) -> Self:
        try:
            self._real.__enter__()
        except ZangoAIError as exc:
            self._note(exc)
            raise
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._note(exc)
        self._real.__exit__(exc_type, exc, traceback)

    def __iter__(self) -> Iterator[str]:
        for piece in self._real:
            self._pieces.append(piece)
            yield piece


class AsyncRecordedStream(_Recorded[AsyncAnswerStream]):
    async def __aenter__(self) -> Self:
        try:
            await self._real.__aenter__()
        except ZangoAIError as exc:
            self._note(exc)
            raise
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> Any:
        self._note(exc)
        await self._real.__aexit__(exc_type, exc, traceback)

    async def __aiter__(self) -> AsyncIterator[str]:
        async for piece in self._real:
            self._pieces.append(piece)
            yield piece
