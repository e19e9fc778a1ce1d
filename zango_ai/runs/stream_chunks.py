"""Make the chunks of one streamed run, and number them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ..types import ChunkType, LLMResponse, LLMStreamChunk, LLMToolCall


class StreamChunks:
    """The chunks of one run. The caller yields each of them before it makes the next one."""

    __slots__ = ("_has_text", "_is_round_open", "_number")

    def __init__(self, *, has_open_text: bool = False) -> None:
        self._number = 0
        self._is_round_open = False
        self._has_text = has_open_text
        """Whether text of the current round was yielded, also by an earlier attempt of the run."""

    def begin_round(self) -> Iterator[LLMStreamChunk]:
        """``reset`` if a round is open that has text: the model is asked again for what it was to answer there."""
        self._is_round_open = True
        yield from self.reset()

    def reset(self) -> Iterator[LLMStreamChunk]:
        if self._has_text:
            self._has_text = False
            yield self._make("reset")

    def end_round(self) -> Iterator[LLMStreamChunk]:
        if self._is_round_open:
            self._is_round_open = self._has_text = False
            yield self._make("round_end")

    def text(self, text: str) -> LLMStreamChunk:
        self._has_text = True
        return self._make("text", text=text)

    def tool(self, call: LLMToolCall) -> LLMStreamChunk:
        return self._make("tool_call" if call.status == "running" else "tool_result", tool_call=call)

    def final(self, response: LLMResponse) -> LLMStreamChunk:
        return self._make("final", response=response)

    def _make(self, type_: ChunkType, **fields: Any) -> LLMStreamChunk:
        self._number += 1
        return LLMStreamChunk(type=type_, number=self._number, **fields)
