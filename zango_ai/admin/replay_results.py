"""What has become of a batch of replays."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from functools import cached_property
from typing import Any
from uuid import UUID

from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from ..models import Invocation
from ..runs.replay_batch import UNFINISHED
from ..runs.replay_comparison import Comparison

_STALLED_AFTER = timedelta(seconds=20)
"""After this time without any progress, it is likely that no worker takes the replays."""
Status = Invocation.Status


@dataclass(frozen=True)
class BatchResults:
    """The replays of a batch beside the runs that they repeat, the newest run first."""

    comparisons: Sequence[Comparison]
    agent_id: int | None
    agent_name: str
    deleted: int
    """How many replays are left out, because the runs that they repeat were deleted."""
    unfinished: int
    """How many have not ended, with those that are left out."""

    @classmethod
    def read(cls, batch_id: UUID) -> BatchResults | None:
        """None if there is no such batch."""
        rows = Invocation.objects.filter(replay_batch=batch_id).order_by("-replay_of_id", "pk")
        replays = list(rows.values("pk", "agent", "agent_name", "status"))
        if not replays:
            return None
        comparisons = Comparison.read_many([replay["pk"] for replay in replays])
        return cls(
            comparisons,
            replays[0]["agent"],
            replays[0]["agent_name"],
            deleted=len(replays) - len(comparisons),
            unfinished=sum(replay["status"] in UNFINISHED for replay in replays),
        )

    @cached_property
    def ended(self) -> list[Comparison]:
        return [each for each in self.comparisons if each.replay.status not in UNFINISHED]

    @property
    def is_working(self) -> bool:
        """Whether some replays have not ended."""
        return self.unfinished > 0

    @cached_property
    def progress(self) -> list[dict[str, Any]]:
        """How many replays are in which state, for a bar: those that have ended come first."""
        counts = Counter(_state_of(each.replay) for each in self.comparisons)
        share, shown = 0.0, []
        for state, tone, label in _STATES:
            if counts[state]:
                width = 100 * counts[state] / len(self.comparisons)
                shown.append({"tone": tone, "label": label, "count": counts[state], "x": share, "width": width})
                share += width
        return shown

    @cached_property
    def is_stalled(self) -> bool:
        """Whether replays wait for a worker, and nothing has happened for some time.

        A replay that waits for its next attempt is not waiting for a worker.
        """
        replays = [each.replay for each in self.comparisons]
        is_waiting = any(run.status == Status.QUEUED and run.started_at is None for run in replays)
        if not is_waiting or any(run.status == Status.RUNNING for run in replays):
            return False
        return timezone.now() - max(run.updated_at for run in replays) > _STALLED_AFTER

    @property
    def state(self) -> str:
        return "stalled" if self.is_stalled else "working" if self.is_working else "ended"

    @cached_property
    def answered(self) -> int:
        return sum(map(_has_answer, self.comparisons))

    @cached_property
    def same(self) -> int:
        return sum(map(_is_same, self.comparisons))

    @cached_property
    def diverged(self) -> int:
        return sum(map(_has_diverged, self.comparisons))

    @property
    def replay_usd(self) -> Decimal:
        return _total_usd(each.replay for each in self.ended)

    @property
    def original_usd(self) -> Decimal:
        """What the runs have cost whose replays have ended."""
        return _total_usd(each.original for each in self.ended)

    @property
    def has_unknown_cost(self) -> bool:
        return any(each.extra_cost_usd is None for each in self.ended)

    def views(self, shown: str) -> list[dict[str, Any]]:
        """The choices of rows, with their numbers. Those without rows are left out."""
        counted = [(name, label, len(self.chosen(name))) for name, (label, _condition) in _VIEWS.items()]
        return [
            {"name": name, "label": label, "count": count, "is_current": name == shown}
            for name, label, count in counted
            if count or name in {"", shown}
        ]

    def chosen(self, shown: str) -> list[Comparison]:
        """The rows of a view."""
        _label, condition = _VIEWS.get(shown, _VIEWS[""])
        return list(filter(condition, self.comparisons))


def _state_of(run: Invocation) -> str:
    if run.status in Invocation.ERRORS:
        return Status.FAILED.value
    return str(run.status)


def _has_answer(each: Comparison) -> bool:
    return bool(each.replay.status == Status.SUCCESS)


def _is_same(each: Comparison) -> bool:
    return _has_answer(each) and each.is_same


def _differs(each: Comparison) -> bool:
    return _has_answer(each) and not each.is_same and not each.is_removed


def _has_diverged(each: Comparison) -> bool:
    return bool(each.diverged)


def _is_unanswered(each: Comparison) -> bool:
    return each.replay.status not in {Status.SUCCESS, *UNFINISHED}


def _total_usd(runs: Any) -> Decimal:
    return sum((run.cost_usd or Decimal(0) for run in runs), Decimal(0))


_STATES = (
    (Status.SUCCESS.value, "ok", _("answered")),
    (Status.FAILED.value, "bad", _("failed")),
    (Status.CANCELLED.value, "none", _("cancelled")),
    (Status.RUNNING.value, "info", _("running")),
    (Status.QUEUED.value, "rest", _("waiting")),
)
_VIEWS: dict[str, tuple[Any, Callable[[Comparison], bool]]] = {
    "": (_("All"), lambda each: True),
    "different": (_("Different"), _differs),
    "diverged": (_("Diverged"), _has_diverged),
    "same": (_("Same"), _is_same),
    "unanswered": (_("Without an answer"), _is_unanswered),
}
