"""Read one answer while the model writes it.

::

    with call.stream() as stream:
        for text in stream:
            ...
    stream.answer       # the whole ModelAnswer
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import astuple
from types import TracebackType
from typing import Any, Self

from ..argument_checks import type_of
from ..types import LLMUsage, ModelAnswer
from . import clients, errors, json_forms, model_answers, private_attributes
from .call_plan import CallPlan, complete
from .call_trace import CallTrace
from .clients import Client
from .model_answers import RawToolCall
from .token_estimate import estimate_prompt_tokens

_END = object()
_OPTIONS = {"stream": True, "stream_options": {"include_usage": True}}


class AnswerStream:
    """A context manager that sends the request. Iterating gives the text as it arrives, with credentials masked.

    Entering and iterating raise what ``PreparedCall.send()`` raises. Leaving closes the connection to the vendor.
    """

    __slots__ = (
        *("_answer", "_borrowed", "_call", "_events", "_client", "_finish_reason", "_first_token_ms", "_is_over"),
        *("_masked", "_reader", "_translate", "_model", "_pieces", "_started", "_tool_calls", "_trace", "_usage"),
    )

    def __init__(self, call: CallPlan) -> None:
        self._call = call
        self._trace = CallTrace.start(call.request.timeout_s, call.kind.vendor, is_stream=True)
        self._borrowed: AbstractContextManager[Client] = clients.borrow(call.provider, call.kind)
        self._client: Client
        self._reader: Any
        self._translate: Callable[..., Any]
        self._events: Iterator[Any]
        self._pieces: list[str] = []
        self._tool_calls: dict[int, RawToolCall] = {}
        self._model = call.request.model
        self._finish_reason: str | None = None
        self._usage: tuple[LLMUsage, int] | None = None
        self._started = time.monotonic()
        self._first_token_ms: int | None = None
        self._answer: ModelAnswer | None = None
        self._is_over = False

    def __enter__(self) -> Self:
        self._started = time.monotonic()
        self._trace.deadline = self._started + self._call.request.timeout_s
        self._client = self._borrowed.__enter__()
        self._masked = self._client.answer_mask.stream()
        error = self._step(self._open)
        if error is not None:
            self.__exit__(None, None, None)
            self._raise(error)
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._is_over = True
        if self._trace.stream_response is not None:
            with self._trace.active():
                self._trace.stream_response.close()
        self._borrowed.__exit__(None, None, None)

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> str:
        while not self._is_over:
            begun = len(self._pieces)
            error = self._step(self._read)
            if error is not None:
                self._is_over = True
                self._raise(error)
            if len(self._pieces) > begun:
                return self._pieces[-1]
        raise StopIteration

    @property
    def answer(self) -> ModelAnswer:
        """The whole answer, once the stream has ended. RuntimeError before that."""
        if self._answer is None:
            raise RuntimeError("The stream has not ended. Iterate to its end, or use partial().")
        return self._answer

    @property
    def time_to_first_token_ms(self) -> int | None:
        """None as long as the model has produced nothing."""
        return self._first_token_ms

    def partial(self) -> ModelAnswer:
        """What has arrived so far, with an estimated usage: the answer of a stream that was closed early."""
        return self._answer or self._answer_with(self._estimated_usage(), 0, is_estimated=True)

    def _step(self, work: Any) -> BaseException | None:
        """Do the work; return the error: a traceback would show frames that hold the key."""
        caught_before = sys.exception()
        try:
            with self._trace.active():
                try:
                    work()
                except BaseException as exc:
                    return self._call.error(exc, self._trace, caught_before, self._client)
        except BaseException as exc:  # a task's time limit, raised before the call or while its error was read
            return errors.without_frames(exc)
        return None

    def _raise(self, error: BaseException) -> None:
        json_forms.note_refusal(self._call.provider, self._call.request, error)
        raise error

    def _open(self) -> None:
        self._reader = complete({**self._call.arguments(self._client, self._trace), **_OPTIONS})
        if private_attributes.require("litellm", self._reader, "completion_stream") is None:
            private_attributes.require("litellm", self._reader, "fetch_sync_stream")()  # Gemini's request
        private_attributes.require("litellm", self._reader, "received_finish_reason")
        self._translate = private_attributes.require("litellm", self._reader, "chunk_creator")
        self._events = iter(self._reader.completion_stream)
        if self._trace.status is None:
            raise RuntimeError("litellm returned a stream without using our HTTP client")

    def _read(self) -> None:
        """Read one of the vendor's events. At the end, put the answer together.

        litellm's own iterator is not used. It starts threads for callbacks, and at the end it counts tokens with a
        tokenizer, which it may have to download.
        """
        self._trace.remaining()
        event = next(self._events, _END)
        if event is _END:
            self._end()
            return
        for choice in (getattr(event, "choices", None) or ())[:1]:  # litellm removes Gemini's finish reason
            self._finish_reason = choice.finish_reason or self._finish_reason
        kept = len(self._reader.chunks)
        try:
            chunk = self._translate(chunk=event)
        except StopIteration:  # an event after the finish reason
            chunk = None
        self._add_chunk(chunk)
        for hidden in self._reader.chunks[kept:]:  # litellm sets aside chunks that have usage and nothing else
            self._add_usage(hidden)

    def _add_chunk(self, chunk: Any) -> None:
        if chunk is None:
            return
        self._model = str(chunk.model or self._model)
        self._add_usage(chunk)
        for choice in chunk.choices[:1]:
            self._finish_reason = choice.finish_reason or self._finish_reason
            for part in getattr(choice.delta, "tool_calls", None) or ():
                self._add_tool_call(part)
            self._add_text(getattr(choice.delta, "content", None) or "")

    def _add_usage(self, chunk: Any) -> None:
        """Counts in later chunks include those in earlier ones."""
        if getattr(chunk, "usage", None) is not None:
            usage, reasoning_tokens = model_answers.read_usage(chunk)
            before, reasoning_before = self._usage or (LLMUsage(), 0)
            counts = (max(pair) for pair in zip(astuple(before), astuple(usage), strict=True))
            self._usage = LLMUsage(*counts), max(reasoning_before, reasoning_tokens)

    def _add_text(self, text: str) -> None:
        if not isinstance(text, str):
            raise TypeError(f"The answer's content is {type_of(text)}, not text")
        if text:
            self._note_token()
            self._add_masked(self._masked.feed(text))

    def _add_masked(self, text: str) -> None:
        if text:
            self._pieces.append(text)

    def _add_tool_call(self, part: Any) -> None:
        """Vendors send a call's name and id once, and its arguments in parts."""
        self._note_token()
        call = self._tool_calls.setdefault(int(part.index or 0), RawToolCall())
        raw = model_answers.raw_tool_call(part)
        call.id = call.id or raw.id
        call.name = call.name or raw.name
        call.arguments += raw.arguments

    def _note_token(self) -> None:
        if self._first_token_ms is None:
            self._first_token_ms = round((time.monotonic() - self._started) * 1000)

    def _end(self) -> None:
        self._finish_reason = self._finish_reason or self._reader.received_finish_reason
        if self._finish_reason is None:
            self._trace.is_broken = bool(self._pieces or self._tool_calls)
            raise RuntimeError("The stream ended before the answer did")
        self._is_over = True
        self._add_masked(self._masked.finish())
        if self._trace.has_usage and self._usage is not None:
            self._answer = self._answer_with(*self._usage, is_estimated=False)
        else:
            self._answer = self._answer_with(self._estimated_usage(), 0, is_estimated=True)

    def _answer_with(self, usage: LLMUsage, reasoning_tokens: int, *, is_estimated: bool) -> ModelAnswer:
        mask = self._client.answer_mask
        calls = (call for _index, call in sorted(self._tool_calls.items()))
        return ModelAnswer(
            content="".join(self._pieces),
            model=mask.apply(self._model),
            stop_reason=model_answers.read_stop_reason(self._finish_reason),
            usage=usage,
            cost_usd=model_answers.cost(usage, reasoning_tokens, self._call.price),
            request_params=self._trace.request_params,
            tool_calls=tuple(model_answers.tool_requests(calls, self._trace.unreadable_arguments, mask)),
            is_usage_estimated=is_estimated,
            time_to_first_token_ms=self._first_token_ms,
        )

    def _estimated_usage(self) -> LLMUsage:
        """An upper estimate: litellm's own would need the model's tokenizer."""
        max_tokens = self._call.request.max_tokens
        texts = ["".join(self._pieces), *(call.name + call.arguments for call in self._tool_calls.values())]
        output_tokens = min(estimate_prompt_tokens(texts), max_tokens)
        return LLMUsage(self._call.estimate.tokens - max_tokens, output_tokens)

    def __repr__(self) -> str:
        return f"<AnswerStream of model {self._call.request.model!r}>"
