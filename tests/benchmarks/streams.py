"""Streams beside bare ``litellm.completion(stream=True)``, and what an open ``astream()`` occupies."""

from __future__ import annotations

import asyncio
import gc
import statistics
import threading
import time
from collections import defaultdict
from collections.abc import AsyncGenerator, Callable, Iterator
from typing import Any

from tests.benchmarks import resident
from tests.benchmarks.server import LONG, STALLED

OPEN = 500
_MAX_TOKENS = 20_000
_OPEN_BEFORE = 50
"""Streams that are open before the memory is measured, with the connections that all share."""

Stream = Callable[[str], Iterator[bool]]
"""Yields for each chunk whether it has text."""
Times = tuple[float, float, float]
"""Milliseconds to the first text, to the end, and of CPU time."""


def measured(server: Any, rounds: int, *, long_rounds: int, count: int = OPEN) -> dict[str, Any]:
    """Medians of the rounds, measured alternately."""
    from tests.build import make_agent
    from zango_ai import warm_up

    warm_up()
    make_agent(server, "plain", max_tokens=_MAX_TOKENS, timeout_seconds=300)
    # First, because memory that the long streams have freed would be used again.
    open_streams = asyncio.run(_open_streams(count))
    streams = {"litellm": _bare(server), "stream": _ours}
    return {
        "short": _compared(streams, "hi", rounds),
        "long": _compared(streams, LONG, long_rounds),
        "open": open_streams,
    }


def _bare(server: Any) -> Stream:
    import litellm

    from tests.build import API_KEY

    address = {"api_base": server.openai_base, "api_key": API_KEY, "max_retries": 0}

    def stream(question: str) -> Iterator[bool]:
        messages = [{"role": "user", "content": question}]
        params = {"temperature": 0.7, "max_tokens": _MAX_TOKENS, "stream": True}
        for chunk in litellm.completion("openai/gpt-4o-mini", messages, **params, **address):
            yield bool(chunk.choices[0].delta.content)

    return stream


def _ours(question: str) -> Iterator[bool]:
    from zango_ai import get_agent

    for chunk in get_agent("plain").stream(question):
        yield chunk.type == "text"


def _compared(streams: dict[str, Stream], question: str, rounds: int) -> dict[str, Any]:
    times: dict[str, list[Times]] = defaultdict(list)
    for number in range(-2, rounds):
        for name, stream in streams.items():
            time.sleep(0.003)
            found = _timed(stream, question)
            if number >= 0:
                times[name].append(found)
    figures: dict[str, Any] = {}
    for position, what in enumerate(("first_token", "wall", "cpu")):
        bare, ours = ([each[position] for each in times[name]] for name in ("litellm", "stream"))
        ratios = sorted(mine / theirs for mine, theirs in zip(ours, bare, strict=True))
        figures[what] = {
            "litellm_ms": statistics.median(bare),
            "stream_ms": statistics.median(ours),
            "to_litellm": statistics.median(ratios),
            "middle_half": f"{ratios[len(ratios) // 4]:.2f} to {ratios[-1 - len(ratios) // 4]:.2f}",
        }
    return figures


def _timed(stream: Stream, question: str) -> Times:
    started, cpu_s, first_s = time.perf_counter(), time.process_time(), None
    for has_text in stream(question):
        if has_text and first_s is None:
            first_s = time.perf_counter() - started
    assert first_s is not None
    return first_s * 1000, (time.perf_counter() - started) * 1000, (time.process_time() - cpu_s) * 1000


async def _open_streams(count: int) -> dict[str, Any]:
    """What each of so many streams occupies that wait for the model in one event loop."""
    from zango_ai import aget_agent

    agent = await aget_agent("plain")
    for _ in range(3):
        await agent.arun("hi")

    async def begun() -> AsyncGenerator[Any, None]:
        stream = agent.astream(STALLED)
        assert (await anext(stream)).type == "text"
        return stream

    streams = await asyncio.gather(*(begun() for _ in range(_OPEN_BEFORE)))
    gc.collect()
    before_mib, threads = resident.resident_mib(), threading.active_count()
    streams += await asyncio.gather(*(begun() for _ in range(count - _OPEN_BEFORE)))
    gc.collect()
    figures = {
        "streams": count,
        "kib_each": (resident.resident_mib() - before_mib) * 1024 / (count - _OPEN_BEFORE),
        "threads": threading.active_count(),
        "more_threads": threading.active_count() - threads,
    }
    await asyncio.gather(*(stream.aclose() for stream in streams))
    return figures
