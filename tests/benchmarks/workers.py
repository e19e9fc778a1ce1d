"""How many queued runs a second one machine's workers get through: ``python -m tests.benchmarks.workers``.

Each pool by itself, on a Redis and the local model server, which thinks for 50 ms; the same runs in threads of one
process beside it, without Celery. Workers have run some before the clock starts.
"""

import time
from concurrent.futures import ThreadPoolExecutor

from tests.benchmarks import site

RUNS = 300
POOLS = {
    "prefork -c 2": ("--pool", "prefork", "-c", "2"),
    "prefork -c 8": ("--pool", "prefork", "-c", "8"),
    "threads -c 16": ("--pool", "threads", "-c", "16"),
}


def main() -> None:
    with site.tenant(delay_s=0.05) as server:
        from django.db import connection
        from django_tenants.utils import schema_context

        from tests.build import make_agent
        from tests.workers import app, redis_server, worker
        from zango_ai import get_agent
        from zango_ai.models import Invocation

        make_agent(server, timeout_seconds=120)

        def ask(number: int) -> None:
            with schema_context("north"):
                get_agent("helper").run("hi")

        def ask_and_close(numbers: range) -> None:
            for number in numbers:
                ask(number)
            connection.close()

        get_agent("helper").run("warm")
        with ThreadPoolExecutor(16) as pool:
            started = time.perf_counter()
            list(pool.map(ask_and_close, [range(RUNS // 16)] * 16))
            print(f"{'run() in 16 threads':>20}: {RUNS // 16 * 16 / (time.perf_counter() - started):.0f} runs/s")
        with redis_server() as redis, app(redis) as queueing:
            for number, (name, arguments) in enumerate(POOLS.items()):
                queueing.conf.task_default_queue = f"queue{number}"
                with worker(redis, f"queue{number}", *arguments) as running:
                    running.wait_until_ready()
                    for run in [get_agent("helper").enqueue("warm") for _ in range(64)]:
                        run.wait(120)
                    started = time.perf_counter()
                    runs = [get_agent("helper").enqueue("hi") for _ in range(RUNS)]
                    queued = time.perf_counter() - started
                    for run in runs:
                        run.wait(120)
                    seconds = time.perf_counter() - started
                print(f"{name:>20}: {RUNS / seconds:.0f} runs/s; queueing one took {queued / RUNS * 1000:.1f} ms")
        assert not Invocation.objects.exclude(status="success").exists()


if __name__ == "__main__":
    main()
