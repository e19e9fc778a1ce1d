"""One answer that arrives in a stream: its text, tool calls and usage so far."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import astuple
from typing import Any, Generic, NoReturn

from ..argument_checks import type_of
from ..types import LLMUsage, ModelAnswer
from . import json_forms, model_answers, private_attributes
from .call_plan import CallPlan
from .call_trace import CallTrace
from .clients import Client, Http
from .masking import MaskStream
from .model_answers import RawToolCall
from .token_estimate import estimate_prompt_tokens

END = object()
"""In place of an event: the stream has ended."""
_OPTIONS = {"stream": True, "stream_options": {"include_usage": True}}


class StreamedAnswer(Generic[Http]):
    """One streamed call, and what has arrived of its answer."""

    def __init__(self, call: CallPlan) -> None:
        self._call = call
        self._trace = CallTrace.start(call.request.timeout_s, call.kind.vendor, is_stream=True)
        self._client: Client[Http]
        self._masked: MaskStream
        self._reader: Any
        self._translate: Callable[..., Any]
        self._events: Any
        self._pieces: list[str] = []
        self._tool_calls: dict[int, list[RawToolCall]] = {}
        """By their index in the answer, which some servers repeat."""
        self._model = call.request.model
        self._finish_reason: str | None = None
        self._usage: tuple[LLMUsage, int] | None = None
        self._started = time.monotonic()
        self._first_token_ms: int | None = None
        self._answer: ModelAnswer | None = None
        self._is_over = False

    @property
    def answer(self) -> ModelAnswer:
        """The whole answer, once the stream has ended. RuntimeError before that."""
        if self._answer is None:
            raise RuntimeError("The stream has not ended. Iterate to its end, or use partial().")
        return self._answer

    @property
    def is_sent(self) -> bool:
        """Whether any byte of the request was sent."""
        return self._trace.is_sent

    @property
    def time_to_first_token_ms(self) -> int | None:
        """None as long as the model has produced nothing."""
        return self._first_token_ms

    def partial(self) -> ModelAnswer:
        """What has arrived so far, with an estimated usage: the answer of a stream that was closed early."""
        return self._answer or self._answer_with(self._estimated_usage(), 0, is_estimated=True)

    def _begin(self, client: Client[Http]) -> None:
        self._client = client
        self._masked = client.answer_mask.stream()

    def _start_clock(self) -> None:
        self._started = time.monotonic()
        self._trace.deadline = self._started + self._call.request.timeout_s

    def _arguments(self) -> dict[str, Any]:
        """The arguments of ``litellm.completion()``."""
        return {**self._call.arguments(self._client, self._trace), **_OPTIONS}

    def _take_reader(self) -> None:
        private_attributes.require("litellm", self._reader, "received_finish_reason")
        self._translate = private_attributes.require("litellm", self._reader, "chunk_creator")
        if self._trace.status is None:
            raise RuntimeError("litellm returned a stream without using our HTTP client")

    def _raise(self, error: BaseException) -> NoReturn:
        json_forms.note_refusal(self._call.provider, self._call.request, error)
        raise error

    def _take(self, event: Any) -> None:
        """Add one of the vendor's events. After the last one, put the answer together.

        litellm's own iterator is not used. It starts threads for callbacks, and at the end it counts tokens with a
        tokenizer, which it may have to download.
        """
        if event is END:
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
        """Vendors send a call's name once, and its arguments in parts. A new name with a new id is another call."""
        self._note_token()
        calls = self._tool_calls.setdefault(int(part.index or 0), [])
        raw = model_answers.raw_tool_call(part)
        if not calls or (raw.name and raw.id and calls[-1].id not in ("", raw.id)):
            calls.append(RawToolCall())
        call = calls[-1]
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
        return ModelAnswer(
            content="".join(self._pieces),
            model=mask.apply(self._model),
            stop_reason=model_answers.read_stop_reason(self._finish_reason),
            usage=usage,
            cost_usd=model_answers.cost(usage, reasoning_tokens, self._call.price),
            request_params=self._trace.request_params,
            tool_calls=tuple(
                model_answers.tool_requests(self._raw_calls(), self._trace.unreadable_arguments, mask)
            ),
            is_usage_estimated=is_estimated,
            time_to_first_token_ms=self._first_token_ms,
        )

    def _raw_calls(self) -> list[RawToolCall]:
        return [call for _index, calls in sorted(self._tool_calls.items()) for call in calls]

    def _estimated_usage(self) -> LLMUsage:
        """An upper estimate: litellm's own would need the model's tokenizer."""
        max_tokens = self._call.request.max_tokens
        texts = ["".join(self._pieces), *(call.name + call.arguments for call in self._raw_calls())]
        output_tokens = min(estimate_prompt_tokens(texts), max_tokens)
        return LLMUsage(self._call.estimate.tokens - max_tokens, output_tokens)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of model {self._call.request.model!r}>"
