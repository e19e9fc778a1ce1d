"""How many runs a second 16 threads get through at a model that thinks for 50 ms, beside bare litellm."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from tests.benchmarks import latency

THREADS, THINKS_S = 16, 0.05


def measured(server: Any, runs_a_thread: int, rounds: int = 5) -> dict[str, Any]:
    """Medians of the rounds, by turns.

    The processors' time for one call is that of this process, and of all processes of the machine together: the
    model server and PostgreSQL as well.
    """
    from django.db import connection
    from django_tenants.utils import schema_context

    from tests.build import make_agent
    from zango_ai import get_agent

    make_agent(server, "plain")
    schema = connection.schema_name
    ask = latency.bare_litellm(server)
    bare = latency.bare_openai(server)

    def run() -> None:
        with schema_context(schema):
            get_agent("plain").run("hi")

    works: dict[str, Callable[[], Any]] = {
        "openai": lambda: bare([{"role": "user", "content": "hi"}]),
        "litellm": lambda: ask([{"role": "user", "content": "hi"}]),
        "run": run,
    }
    rates = {name: list[float]() for name in works}
    own_ms, all_ms = ({name: list[float]() for name in works} for _ in range(2))
    calls = THREADS * runs_a_thread
    with ThreadPoolExecutor(THREADS) as pool:
        for number in range(rounds + 1):
            for name, work in works.items():
                started, own_s, all_s = time.perf_counter(), time.process_time(), busy_s()
                list(pool.map(lambda _, work=work: [work() for _ in range(runs_a_thread)], range(THREADS)))  # type: ignore[misc]
                seconds = time.perf_counter() - started
                own_s, all_s = time.process_time() - own_s, busy_s() - all_s
                if number:
                    rates[name].append(calls / seconds)
                    own_ms[name].append(own_s / calls * 1000)
                    all_ms[name].append(all_s / calls * 1000)
        list(pool.map(lambda _: connection.close(), range(THREADS * 4)))
    a_second = {name: statistics.median(each) for name, each in rates.items()}
    return {
        name: {
            "a_second": rate,
            "to_litellm": rate / a_second["litellm"],
            "own_processor_ms": statistics.median(own_ms[name]),
            "all_processors_ms": statistics.median(all_ms[name]),
        }
        for name, rate in a_second.items()
    }


def busy_s() -> float:
    """Seconds that the machine's processors have worked since it was started."""
    user, nice, system, _, _, interrupts, soft, *_ = map(int, Path("/proc/stat").read_text().split()[1:8])
    return (user + nice + system + interrupts + soft) / os.sysconf("SC_CLK_TCK")
