"""What a run costs beside the bare call: ``python -m tests.benchmarks.run [--part throughput] [--json FILE]``.

In one process, against the local model server in its own: some ways of running an agent, the same question by bare
``litellm.completion`` and by the bare ``openai`` client, in turns; medians, ratios to litellm, SQL statements. Or
16 threads at a model that thinks for 50 ms.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path
from typing import Any

from tests.benchmarks import site
from tests.statements import statements

ROUNDS = 300
THREADS, RUNS_A_THREAD = 16, 20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, help="write the figures to this file as well")
    parser.add_argument("--part", choices=["latency", "throughput"], default="latency")
    options = parser.parse_args()
    measure, delay_s = (latency, 0.0) if options.part == "latency" else (throughput, 0.05)
    with site.tenant(delay_s=delay_s) as server:
        figures = {"versions": versions(), options.part: measure(server)}
    show(figures[options.part])
    if options.json:
        options.json.write_text(json.dumps(figures, indent=2))


def versions() -> dict[str, str]:
    names = ("django", "django-tenants", "psycopg", "litellm", "openai", "httpx")
    return {"python": platform.python_version(), **{name: version(name) for name in names}}


def latency(server: Any) -> dict[str, Any]:
    import openai

    from tests.build import make_agent, make_prompt, make_provider
    from zango_ai import get_agent

    provider = make_provider(server)
    make_agent(server, "plain", provider=provider)
    make_agent(
        server,
        "prompts",
        provider=provider,
        user_prompt=make_prompt("Tell of {{ name }} in {{ words }} words."),
        system_prompt=make_prompt("You work at {{ site }}.", "system"),
    )
    make_agent(server, "memory", provider=provider, short_term_memory=True)

    bare = openai.OpenAI(api_key="sk-bench", base_url=server.openai_base, max_retries=0)
    asked = [{"role": "user", "content": "hi"}]

    def by_litellm() -> None:
        ask_litellm(server)

    def by_openai() -> None:
        bare.chat.completions.create(model="gpt-4o-mini", messages=asked, temperature=0.7, max_tokens=2000)  # type: ignore[call-overload]

    def memory() -> None:
        agent = get_agent("memory")
        session_id = agent.run("first").session_id
        agent.run("second", session_id=session_id)
        started = time.perf_counter()
        get_agent("memory").run("third", session_id=session_id)
        memory_ms.append((time.perf_counter() - started) * 1000)

    memory_ms: list[float] = []
    works: dict[str, Callable[[], Any]] = {
        "bare litellm": by_litellm,
        "bare openai": by_openai,
        "plain": lambda: get_agent("plain").run("hi"),
        "prompts": lambda: get_agent("prompts").run(
            variables={"name": "Ada", "words": 3}, system_variables={"site": "North"}
        ),
    }
    for work in [*works.values(), memory]:
        for _ in range(5):
            work()
    memory_ms.clear()
    times: dict[str, list[float]] = {name: [] for name in works}
    for number in range(ROUNDS):
        for name, work in works.items():
            started = time.perf_counter()
            work()
            times[name].append((time.perf_counter() - started) * 1000)
        if number % 5 == 0:
            memory()
    medians = {name: statistics.median(each) for name, each in times.items()}
    medians["third memory turn"] = statistics.median(memory_ms)
    counts = {name: len(statements(work)) for name, work in works.items() if not name.startswith("bare")}
    session_id = get_agent("memory").run("first").session_id
    counts["third memory turn"] = len(statements(lambda: get_agent("memory").run("hi", session_id=session_id)))
    return {
        name: {"ms": ms, "to_litellm": ms / medians["bare litellm"], "sql": counts.get(name)}
        for name, ms in medians.items()
    }


def ask_litellm(server: Any) -> None:
    from zango_ai.providers import gate

    gate.load().completion(
        model="openai/gpt-4o-mini",
        messages=[{"role": "user", "content": "hi"}],
        api_key="sk-bench",
        api_base=server.openai_base,
        temperature=0.7,
        max_tokens=2000,
        max_retries=0,
    )


def throughput(server: Any) -> dict[str, Any]:
    """Runs a second of 16 threads, by turns, the better of three."""
    from django.db import connection
    from django_tenants.utils import schema_context

    from tests.build import make_agent
    from zango_ai import get_agent

    make_agent(server, "plain")

    def run() -> None:
        with schema_context("north"):
            get_agent("plain").run("hi")

    def many(work: Callable[[], Any]) -> None:
        for _ in range(RUNS_A_THREAD):
            work()
        connection.close()

    best: dict[str, float] = {}
    works = {"bare litellm": lambda: ask_litellm(server), "plain": run}
    for _ in range(3):
        for name, work in works.items():
            started = time.perf_counter()
            with ThreadPoolExecutor(THREADS) as pool:
                list(pool.map(many, [work] * THREADS))
            rate = THREADS * RUNS_A_THREAD / (time.perf_counter() - started)
            best[name] = max(best.get(name, 0.0), rate)
    return {name: {"a_second": rate, "to_litellm": rate / best["bare litellm"]} for name, rate in best.items()}


def show(rows: dict[str, Any]) -> None:
    for name, row in rows.items():
        figures = (
            f"{key} {value:.2f}" if isinstance(value, float) else f"{key} {value}" for key, value in row.items()
        )
        print(f"{name:>20}: {', '.join(figures)}")


if __name__ == "__main__":
    main()
