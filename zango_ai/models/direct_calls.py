"""``Provider.complete()``."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from django.utils.module_loading import import_string

from .tenant_row import TenantRow

if TYPE_CHECKING:
    from ..types import LLMMessage, LLMResponse, Trigger


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
        # By name, because models import nothing of the layers above them, such as runs.
        send: Callable[..., LLMResponse] = import_string("zango_ai.runs.direct.complete")
        return send(
            self,
            messages=messages,
            model=model,
            temperature=temperature,
            max_tokens=max_tokens,
            user_ref=user_ref,
            triggered_by=triggered_by,
        )
