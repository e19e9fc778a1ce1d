"""How many runs a second 200 concurrent ``arun()`` get through, beside bare ``litellm.acompletion``."""

from __future__ import annotations

import asyncio
import statistics
import threading
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable
from typing import Any

CONCURRENT = 200


def measured(server: Any, rounds: int) -> dict[str, Any]:
    """Medians of the rounds, measured alternately in one event loop."""
    from tests.build import make_agent
    from zango_ai import warm_up

    warm_up()
    make_agent(server, "plain")
    return asyncio.run(_measured(server, rounds))


async def _measured(server: Any, rounds: int) -> dict[str, Any]:
    import litellm

    from tests.build import API_KEY
    from zango_ai import aget_agent

    agent = await aget_agent("plain")
    address = {"api_base": server.openai_base, "api_key": API_KEY}

    async def bare() -> None:
        await litellm.acompletion(
            "openai/gpt-4o-mini", [{"role": "user", "content": "hi"}], max_tokens=2000, temperature=0.7, **address
        )

    works: dict[str, Callable[[], Awaitable[Any]]] = {"acompletion": bare, "arun": lambda: agent.arun("hi")}
    rounds_of: dict[str, list[tuple[float, float, int]]] = defaultdict(list)
    for number in range(rounds + 1):
        for name, work in works.items():
            found = await _round(work)
            if number:
                rounds_of[name].append(found)
    return _figures(rounds_of)


async def _round(work: Callable[[], Awaitable[Any]]) -> tuple[float, float, int]:
    """Runs per second, milliseconds of CPU time per run, and threads."""
    started, cpu_s = time.perf_counter(), time.process_time()
    await asyncio.gather(*(work() for _ in range(CONCURRENT)))
    rate = CONCURRENT / (time.perf_counter() - started)
    return rate, (time.process_time() - cpu_s) / CONCURRENT * 1000, threading.active_count()


def _figures(rounds_of: dict[str, list[tuple[float, float, int]]]) -> dict[str, Any]:
    bare = rounds_of["acompletion"]
    figures = {}
    for name, found in rounds_of.items():
        ratios = [each[0] / beside[0] for each, beside in zip(found, bare, strict=True)]
        figures[name] = {
            "a_second": statistics.median(rate for rate, _, _ in found),
            "to_acompletion": statistics.median(ratios),
            "spread": f"{min(ratios):.2f} to {max(ratios):.2f}",
            "own_processor_ms": statistics.median(ms for _, ms, _ in found),
            "threads": max(count for _, _, count in found),
        }
    return figures
