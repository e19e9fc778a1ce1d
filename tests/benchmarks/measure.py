"""Time things by turns, so that whatever else the machine does falls on all of them."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any

PAUSE_S = 0.003
"""Before each measurement: litellm works on its records in a thread after it has answered, which is not to fall on
whatever comes next."""

Works = Mapping[str, Callable[[], Any]]


def interleaved(
    works: Works, rounds: int, *, warm: int = 20, before: Works | None = None, pause_s: float = PAUSE_S
) -> dict[str, float]:
    """The median of each in milliseconds. ``before`` prepares some of them, each time."""
    before = before or {}
    times = {name: list[float]() for name in works}
    for number in range(-warm, rounds):
        for name, work in works.items():
            if name in before:
                before[name]()
            time.sleep(pause_s)
            started = time.perf_counter()
            work()
            if number >= 0:
                times[name].append((time.perf_counter() - started) * 1000)
    return {name: statistics.median(each) for name, each in times.items()}
