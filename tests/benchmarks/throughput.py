"""How many runs a second 16 threads get through at a model that thinks for 50 ms, beside bare litellm."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from tests.benchmarks import latency

THREADS, THINKS_S = 16, 0.05


def measured(server: Any, runs_a_thread: int, rounds: int = 5) -> dict[str, Any]:
    """Medians of the rounds, by turns. The processor's time is that of the whole process for one call."""
    from django.db import connection
    from django_tenants.utils import schema_context

    from tests.build import make_agent
    from zango_ai import get_agent

    make_agent(server, "plain")
    ask = latency.bare_litellm(server)
    bare = latency.bare_openai(server)

    def run() -> None:
        with schema_context("north"):
            get_agent("plain").run("hi")

    works: dict[str, Callable[[], Any]] = {
        "openai": lambda: bare([{"role": "user", "content": "hi"}]),
        "litellm": lambda: ask([{"role": "user", "content": "hi"}]),
        "run": run,
    }
    rates = {name: list[float]() for name in works}
    processor_ms = {name: list[float]() for name in works}
    with ThreadPoolExecutor(THREADS) as pool:
        for number in range(rounds + 1):
            for name, work in works.items():
                started, worked = time.perf_counter(), time.process_time()
                list(pool.map(lambda _, work=work: [work() for _ in range(runs_a_thread)], range(THREADS)))  # type: ignore[misc]
                seconds, work_s = time.perf_counter() - started, time.process_time() - worked
                if number:
                    rates[name].append(THREADS * runs_a_thread / seconds)
                    processor_ms[name].append(work_s / (THREADS * runs_a_thread) * 1000)
        list(pool.map(lambda _: connection.close(), range(THREADS * 4)))
    a_second = {name: statistics.median(each) for name, each in rates.items()}
    return {
        name: {
            "a_second": rate,
            "to_litellm": rate / a_second["litellm"],
            "processor_ms": statistics.median(processor_ms[name]),
        }
        for name, rate in a_second.items()
    }
