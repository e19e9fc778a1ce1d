"""``Provider.complete()``, ``stream()`` and their async forms."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Generator, Iterable
from typing import TYPE_CHECKING, Any

from django.utils.module_loading import import_string

from .tenant_row import TenantRow

if TYPE_CHECKING:
    from ..types import LLMMessage, LLMResponse, LLMStreamChunk, Trigger


class DirectCalls(TenantRow):
    """The part of a provider that calls its models without an agent."""

    class Meta:
        abstract = True

    def complete(
        self,
        messages: Iterable[LLMMessage],
        *,
        model: str | None = None,
        temperature: float | None = None,
        max_tokens: int | None = None,
        user_ref: str = "",
        triggered_by: Trigger | None = None,
    ) -> LLMResponse:
        """Send ``messages`` to the provider, without an agent, and return its answer.

        The call is logged as an ``Invocation`` without agent. The provider's current configuration applies: its
        switch, allowed models, prices, budget, rate limits and retries. None stands for the provider's default
        model, and for the temperature and max tokens of a new agent.

        Raises a ZangoAIError with ``invocation_id``; TypeError or ValueError for a wrong argument.
        """
        arguments = _arguments(model, temperature, max_tokens, user_ref, triggered_by)
        response: LLMResponse = _direct("complete")(self, messages=messages, **arguments)
        return response

    async def acomplete(
        self,
        messages: Iterable[LLMMessage],
        *,
        model: str | None = None,
        temperature: float | None = None,
        max_tokens: int | None = None,
        user_ref: str = "",
        triggered_by: Trigger | None = None,
    ) -> LLMResponse:
        """The async form of ``complete()``."""
        arguments = _arguments(model, temperature, max_tokens, user_ref, triggered_by)
        response: LLMResponse = await _direct("acomplete")(self, messages=messages, **arguments)
        return response

    def stream(
        self,
        messages: Iterable[LLMMessage],
        *,
        model: str | None = None,
        temperature: float | None = None,
        max_tokens: int | None = None,
        user_ref: str = "",
        triggered_by: Trigger | None = None,
    ) -> Generator[LLMStreamChunk, None, None]:
        """Like ``complete()``, but yield the answer while the model writes it, as ``Agent.stream()`` does."""
        arguments = _arguments(model, temperature, max_tokens, user_ref, triggered_by)
        chunks: Generator[LLMStreamChunk, None, None] = _direct("stream")(self, messages=messages, **arguments)
        return chunks

    def astream(
        self,
        messages: Iterable[LLMMessage],
        *,
        model: str | None = None,
        temperature: float | None = None,
        max_tokens: int | None = None,
        user_ref: str = "",
        triggered_by: Trigger | None = None,
    ) -> AsyncGenerator[LLMStreamChunk, None]:
        """The async form of ``stream()``."""
        arguments = _arguments(model, temperature, max_tokens, user_ref, triggered_by)
        chunks: AsyncGenerator[LLMStreamChunk, None] = _direct("astream")(self, messages=messages, **arguments)
        return chunks


def _arguments(
    model: str | None,
    temperature: float | None,
    max_tokens: int | None,
    user_ref: str,
    triggered_by: Trigger | None,
) -> dict[str, Any]:
    return {
        "model": model,
        "temperature": temperature,
        "max_tokens": max_tokens,
        "user_ref": user_ref,
        "triggered_by": triggered_by,
    }


def _direct(function: str) -> Callable[..., Any]:
    # By name, because models import nothing of the layers above them, such as runs.
    found: Callable[..., Any] = import_string(f"zango_ai.runs.direct.{function}")
    return found
