"""Replay the last runs of an agent, here or in workers, and estimate what that costs.

``replay_each()`` replays them in this process, one after the other. ``enqueue_each()`` leaves them to workers.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from uuid import UUID

from .. import tenancy
from ..configuration import agents
from ..configuration.overrides import Overrides
from ..exceptions import (
    BudgetExceeded,
    DisabledError,
    LogUnavailable,
    ModelNotAvailable,
    NotFoundError,
    PriceUnknown,
    ProviderConfigInvalid,
    RateLimitExceeded,
    ZangoAIError,
)
from ..ledger import cancellation
from ..ledger.run_columns import TOKEN_COLUMNS
from ..models import Invocation
from ..providers import model_info, prices
from ..types import LLMUsage, ProviderSpec, Trigger
from . import queued_replay
from .replay import replay

MAX_RUNS = 500
UNFINISHED = (Invocation.Status.QUEUED, Invocation.Status.RUNNING)
_COLUMNS = (
    *("run_id", "agent", "agent_name", "provider", "provider_name", "model", "user_ref", "session_id"),
    *("cost_usd", *TOKEN_COLUMNS),
)
_STOPPING = (
    *(BudgetExceeded, PriceUnknown, RateLimitExceeded, DisabledError, NotFoundError, ModelNotAvailable),
    *(ProviderConfigInvalid, LogUnavailable),
)
"""Errors that the next run would have too."""


@dataclass(frozen=True, slots=True)
class Replayed:
    """One run of a batch."""

    original_id: int
    replay_id: int | None
    """None if the run was refused before anything was logged."""
    error: ZangoAIError | None = None

    @property
    def stops_batch(self) -> bool:
        return isinstance(self.error, _STOPPING)


def last_runs(agent_name: str, count: int) -> list[Invocation]:
    """The last runs of the agent that have ended and whose texts are in the log, newest first."""
    runs = Invocation.objects.filter(
        agent_name=agent_name,
        agent__isnull=False,
        status__in=Invocation.ENDED,
        replay_of__isnull=True,
        payload_removed_at__isnull=True,
        rounds_count__gt=0,
    )
    return list(runs.only(*_COLUMNS)[:count])


def estimate_usd(runs: Sequence[Invocation], overrides: Overrides) -> Decimal | None:
    """What replaying the runs would cost if they used as many tokens again. None if a price is not known."""
    providers: dict[int | None, ProviderSpec | None] = {}
    total = Decimal(0)
    for run in runs:
        provider_id = overrides.provider_id or run.provider_id
        if provider_id not in providers:
            providers[provider_id] = agents.read_provider(provider_id)
        cost_usd = _estimate_usd(run, providers[provider_id], overrides)
        if cost_usd is None:
            return None
        total += cost_usd
    return total


def _estimate_usd(run: Invocation, provider: ProviderSpec | None, overrides: Overrides) -> Decimal | None:
    if provider is None:
        return Decimal(0)  # its replay is refused
    is_same_provider = provider.id == run.provider_id
    model = overrides.model or (run.model if is_same_provider else provider.default_model)
    if is_same_provider and model == run.model:
        return run.cost_usd
    price = model_info.look_up(provider, model).price
    usage = LLMUsage(**{name: getattr(run, name) for name in TOKEN_COLUMNS})
    return None if price is None else prices.cost_of(usage, price)


def replay_each(
    run_ids: Sequence[int],
    overrides: Overrides,
    *,
    replayed_by: str = "",
    triggered_by: Trigger = "user",
    batch_id: UUID | None = None,
) -> Iterator[Replayed]:
    """Replay the runs while the iterator is read. It ends after an error that the next run would have too."""
    for run_id in run_ids:
        try:
            response = replay(
                run_id, overrides, replayed_by=replayed_by, triggered_by=triggered_by, batch_id=batch_id
            )
            replayed = Replayed(run_id, response.invocation_id)
        except ZangoAIError as exc:
            replayed = Replayed(run_id, exc.invocation_id, exc)
        yield replayed
        if replayed.stops_batch:
            return


def enqueue_each(
    runs: Sequence[Invocation], overrides: Overrides, *, replayed_by: str, batch_id: UUID
) -> Iterator[Replayed]:
    """Queue a replay of each of the ``last_runs()`` while the iterator is read. It ends after the first error."""
    for run in runs:
        try:
            replay_id = queued_replay.enqueue(run, overrides, replayed_by=replayed_by, batch_id=batch_id)
        except ZangoAIError as exc:
            yield Replayed(run.pk, exc.invocation_id, exc)
            return
        yield Replayed(run.pk, replay_id)


def cancel(batch_id: UUID) -> int:
    """Cancel the replays of the batch that have not ended, and return how many these are."""
    schema = tenancy.current_schema()
    unfinished = Invocation.objects.filter(replay_batch=batch_id, status__in=UNFINISHED)
    return sum(cancellation.cancel(schema, run_id) for run_id in list(unfinished.values_list("run_id", flat=True)))
