"""When each round and each tool call of a run began, and how long it took."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

from django.utils import timezone
from django.utils.translation import gettext as _

from ..models import InvocationRound, ToolCall

_LONGEST_PAUSE = 0.25
"""Of the time that was worked. Longer pauses, such as that for an approval, are drawn shorter."""


@dataclass(slots=True)
class Bar:
    """A row of the waterfall. Positions are percent of the width."""

    kind: str
    """``round``, ``tool`` or ``wait``."""
    label: str
    status: str
    status_label: Any
    start: datetime
    ms: int
    first_token_ms: int | None = None
    after_ms: int = 0
    """Since the beginning of the run."""
    x: str = "0"
    width: str = "0"
    first_width: str = "0"
    """The part before the first token."""

    @property
    def end(self) -> datetime:
        return self.start + timedelta(milliseconds=self.ms)


@dataclass(frozen=True, slots=True)
class Timeline:
    bars: Sequence[Bar]
    total_ms: int = 0
    is_shortened: bool = False
    """Whether pauses are drawn shorter than they were."""


def timeline(rounds: Iterable[InvocationRound]) -> Timeline:
    """The waterfall of a run. The rounds have their tool calls prefetched."""
    bars = sorted((bar for round_ in rounds for bar in _bars(round_)), key=lambda bar: bar.start)
    if not bars:
        return Timeline(())
    start, end = bars[0].start, max(bar.end for bar in bars)
    scale = _Scale(bars)
    for bar in bars:
        left, right = scale.position(bar.start), scale.position(bar.end)
        bar.after_ms = _ms(bar.start - start)
        bar.x, bar.width = f"{left:.2f}", f"{max(right - left, 0.6):.2f}"
        if bar.first_token_ms and bar.ms:
            bar.first_width = f"{(right - left) * min(bar.first_token_ms / bar.ms, 1):.2f}"
    return Timeline(bars, _ms(end - start), scale.is_shortened)


def _bars(round_: InvocationRound) -> Iterator[Bar]:
    yield Bar(
        "round",
        _("Round %(number)d") % {"number": round_.number},
        round_.status,
        round_.get_status_display(),
        round_.created_at,
        round_.latency_ms or 0,
        round_.time_to_first_token_ms,
    )
    for call in round_.tool_calls.all():
        yield from _call_bars(call)


def _call_bars(call: ToolCall) -> Iterator[Bar]:
    status, start, name = call.get_status_display(), call.created_at, call.tool_name or _("unknown tool")
    is_waiting = call.status == ToolCall.Status.AWAITING_APPROVAL
    decided = timezone.now() if is_waiting else call.decided_at
    if decided is not None and decided > start:
        label = _("%(tool)s: waiting for approval") % {"tool": name}
        yield Bar("wait", label, call.status if is_waiting else "success", status, start, _ms(decided - start))
        start = decided
    if not is_waiting:
        yield Bar("tool", name, call.status, status, start, call.duration_ms or 0)


class _Scale:
    """Positions of moments, from 0 to 100. A pause between two pieces of work is at most a quarter of all work."""

    def __init__(self, bars: Sequence[Bar]) -> None:
        moments = sorted({moment for bar in bars for moment in (bar.start, bar.end)})
        worked = [bar for bar in bars if bar.kind != "wait"]
        spans = [(a, b, any(bar.start < b and a < bar.end for bar in worked)) for a, b in pairwise(moments)]
        work_ms = sum(_ms(b - a) for a, b, is_work in spans if is_work)
        longest = max(work_ms * _LONGEST_PAUSE, 1)
        self.is_shortened = False
        self._positions, total = {moments[0]: 0.0}, 0.0
        for a, b, is_work in spans:
            length = float(_ms(b - a))
            if not is_work and length > longest:
                length, self.is_shortened = longest, True
            total += length
            self._positions[b] = total
        self._total = total or 1.0

    def position(self, moment: datetime) -> float:
        return 100 * self._positions[moment] / self._total


def _ms(duration: timedelta) -> int:
    return round(duration / timedelta(milliseconds=1))
