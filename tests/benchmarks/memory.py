"""What a turn costs in a short and in a long conversation: ``python -m tests.benchmarks.memory``.

Runs on a session of 40 messages and on one of 10,000, in turns; medians of 200, and SQL statements.
"""

import statistics
import time
from dataclasses import replace

from tests.benchmarks import site
from tests.statements import statements

PAIRS = {"40 messages": 20, "10,000 messages": 5_000}
RUNS = 200


def main() -> None:
    with site.tenant() as server:
        from django.db import connection

        from tests.build import make_agent
        from zango_ai import LLMMessage, get_agent
        from zango_ai.store import memory

        agent = make_agent(server, "chat", short_term_memory=True, timeout_seconds=60)
        turn = [LLMMessage("user", "q" * 200), LLMMessage("assistant", "a" * 200)]
        for name, pairs in PAIRS.items():
            begun = memory.Session(agent.pk, name, "", 1, is_new=True)
            for number in range(pairs):
                memory.remember("north", begun if not number else replace(begun, is_new=False), turn, -1 - number)
        with connection.cursor() as cursor:
            cursor.execute("ANALYZE")  # as autovacuum does with a table that has grown
        get_agent("chat").run("warm", session_id="another")
        times: dict[str, list[float]] = {name: [] for name in PAIRS}
        for _ in range(RUNS):
            for name in PAIRS:
                started = time.perf_counter()
                get_agent("chat").run("hi", session_id=name)
                times[name].append((time.perf_counter() - started) * 1000)
        counts = {
            name: len(statements(lambda name=name: get_agent("chat").run("hi", session_id=name)))  # type: ignore[misc]
            for name in PAIRS
        }
        medians = {name: statistics.median(values) for name, values in times.items()}
        for name in PAIRS:
            print(f"{name:>16}: {medians[name]:.2f} ms, {counts[name]} SQL statements")
        short, long = medians.values()
        print(f"           ratio: {long / short:.3f}")


if __name__ == "__main__":
    main()
