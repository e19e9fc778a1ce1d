"""Answer the calls of a run from something else than the provider. ``zango_ai.testing`` uses it.

Only the call to the provider is replaced. Everything before and after it is the run's own: prompts, checks, limits,
log, tools, memory.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from ..providers.call_trace import CallTrace
    from ..providers.calls import PreparedCall
    from ..types import Estimate, ModelAnswer, ModelRequest
    from .preparation import PreparedRun


class StreamedCall(Protocol):
    """What has arrived of a streamed answer."""

    @property
    def answer(self) -> ModelAnswer: ...

    @property
    def is_sent(self) -> bool: ...

    @property
    def time_to_first_token_ms(self) -> int | None: ...

    def partial(self) -> ModelAnswer: ...


class SyncStream(StreamedCall, AbstractContextManager[Any], Protocol):
    """A streamed answer that is read in the calling thread."""

    def __iter__(self) -> Iterator[str]: ...


class AsyncStream(StreamedCall, AbstractAsyncContextManager[Any], Protocol):
    """A streamed answer that is read on an event loop."""

    def __aiter__(self) -> AsyncIterator[str]: ...


class Call(Protocol):
    """What a run needs of one call. ``PreparedCall`` is the one that asks the provider."""

    @property
    def request(self) -> ModelRequest: ...

    @property
    def estimate(self) -> Estimate: ...

    def new_trace(self) -> CallTrace: ...

    def send(self, trace: CallTrace | None = None) -> ModelAnswer: ...

    async def send_async(self, trace: CallTrace | None = None) -> ModelAnswer: ...

    def stream(self) -> SyncStream: ...

    def stream_async(self) -> AsyncStream: ...


class Substitute(Protocol):
    """Decides for each run and call what answers it."""

    def prepared(self, run: PreparedRun) -> PreparedRun:
        """The run as it is answered: its providers may lack credentials that are not needed."""

    def call_for(self, run: PreparedRun, call: PreparedCall) -> Call:
        """The call to make in place of ``call``, or ``call`` itself."""

    def answers(self, run: PreparedRun) -> bool:
        """Whether the run needs no provider: then it loads no client, and does not wait before a retry."""

    def holds_queue(self) -> bool:
        """Whether runs that are queued stay queued, and no task is sent."""


_substitute: Substitute | None = None


def set_substitute(substitute: Substitute | None) -> Substitute | None:
    """Set the substitute of this process. Returns the one before."""
    global _substitute
    before, _substitute = _substitute, substitute
    return before


def prepared(run: PreparedRun) -> PreparedRun:
    """The run with the credentials that its checks need: its own, unless there is a substitute."""
    return run if _substitute is None else _substitute.prepared(run)


def call_for(run: PreparedRun, call: PreparedCall) -> Call:
    """The call that answers this one: itself, unless there is a substitute."""
    return call if _substitute is None else _substitute.call_for(run, call)


def needs_provider(run: PreparedRun) -> bool:
    """Whether a provider answers the run's calls."""
    return _substitute is None or not _substitute.answers(run)


def holds_queue() -> bool:
    """Whether no task may be sent for a queued run."""
    return _substitute is not None and _substitute.holds_queue()
