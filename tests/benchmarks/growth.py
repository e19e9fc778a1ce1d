"""Whether runs take longer in long conversations, in large logs, and among many tenants."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from itertools import cycle
from typing import Any

from tests.benchmarks import latency, measure, site

SIZES = {"messages": (10, 100, 1_000, 10_000), "rows": (1_000, 10_000, 100_000, 1_000_000)}
TENANTS = (1, 10, 100, 1_000)
_COPIED = ("zango_ai_provider", "zango_ai_providermodel", "zango_ai_agentconfig")


def measured(server: Any, rounds: int, *, is_quick: bool) -> dict[str, Any]:
    """For each size the median of a run, beside that of the smallest."""
    messages, rows, tenants = SIZES["messages"], SIZES["rows"], TENANTS
    if is_quick:
        messages, rows, tenants = messages[:3], rows[:2], tenants[:2]
    return {
        "messages of a conversation": _to_first(_conversations(server, messages, rounds)),
        "runs in the log": _to_first(_logs(server, rows, rounds)),
        **_tenants(server, tenants, rounds),
    }


def _to_first(ms: dict[int, float]) -> dict[str, dict[str, float]]:
    first = next(iter(ms.values()))
    return {str(size): {"ms": each, "to_first": each / first} for size, each in ms.items()}


def _conversations(server: Any, sizes: tuple[int, ...], rounds: int) -> dict[int, float]:
    """A turn in each of four sessions of one agent, which remembers 20 pairs; by turns."""
    from tests.build import make_agent, make_provider
    from zango_ai import get_agent
    from zango_ai.models import AgentConfig, MemoryMessage, MemorySession, Provider

    provider = Provider.objects.first() or make_provider(server)
    agent = make_agent(server, "long", provider=provider, short_term_memory=True, timeout_seconds=60)
    for size in sizes:
        begun = get_agent("long").run("first", session_id=str(size))
        session = MemorySession.objects.get(agent=agent, session_id=begun.session_id)
        MemoryMessage.objects.bulk_create(
            [
                MemoryMessage(
                    session=session, sequence=n, role="assistant" if n % 2 == 0 else "user", content="w" * 200
                )
                for n in range(3, size + 1)
            ],
            batch_size=2_000,
        )
        MemorySession.objects.filter(pk=session.pk).update(last_sequence=size, turns_count=size // 2)
    _analyze()
    assert AgentConfig.objects.get(name="long").short_term_memory_max_messages == 20

    def turn(size: int) -> Callable[[], Any]:
        return lambda: get_agent("long").run("hi", session_id=str(size))

    # Ten messages become as many as are sent of the others before it is measured.
    return _by_size({size: turn(size) for size in sizes}, rounds, warm=20)


def _logs(server: Any, sizes: tuple[int, ...], rounds: int) -> dict[int, float]:
    """A run in each of four tenants with so many runs in their logs; by turns."""
    from django_tenants.utils import schema_context

    from tests.build import make_agent
    from zango_ai import get_agent

    for size in sizes:
        site.add_tenant(f"log{size}")
        with schema_context(f"log{size}"):
            make_agent(server, "plain")
            get_agent("plain").run("hi")
            _multiply_log(f"log{size}", size)
    _analyze()

    def run(size: int) -> None:
        with schema_context(f"log{size}"):
            get_agent("plain").run("hi")

    return _by_size({size: lambda size=size: run(size) for size in sizes}, rounds)  # type: ignore[misc]


def _multiply_log(schema: str, size: int) -> None:
    """Copies of the run that is there, and of its round, as of the last two years."""
    from django.db import connection

    with connection.cursor() as cursor:
        for table, changed in _CHANGED.items():
            cursor.execute(
                "SELECT column_name FROM information_schema.columns WHERE table_schema = %s AND table_name = %s "
                "ORDER BY ordinal_position",
                [schema, table],
            )
            columns = [name for (name,) in cursor.fetchall()]
            values = ", ".join(changed.get(name, f'"{name}"') for name in columns)
            names = ", ".join(f'"{name}"' for name in columns)
            cursor.execute(
                f'INSERT INTO "{schema}"."{table}" ({names}) SELECT {values} '
                f'FROM "{schema}"."{table}", generate_series(1000, {size} + 998) AS n'
            )
            cursor.execute(f"SELECT setval(pg_get_serial_sequence('{schema}.{table}', 'id'), {size} + 1000)")


_CHANGED = {
    "zango_ai_invocation": {
        "id": "n",
        "run_id": "gen_random_uuid()",
        "started_at": "started_at - n * interval '1 minute'",
        "user_ref": "n::text",
    },
    "zango_ai_invocationround": {"id": "n", "invocation_id": "n"},
}


def _tenants(server: Any, sizes: tuple[int, ...], rounds: int) -> dict[str, Any]:
    """In one of so many tenants, and in all of them by turns, each beside the same call by bare litellm.

    These cannot be taken by turns with each other: the database grows. So litellm's time is the yardstick.
    """
    from django_tenants.utils import schema_context

    from tests.build import make_agent
    from zango_ai import get_agent

    site.add_tenant("tenant0")
    with schema_context("tenant0"):
        make_agent(server, "plain")
        get_agent("plain").run("hi")
    ask = latency.bare_litellm(server)
    found: dict[str, dict[str, Any]] = {"tenants, one at work": {}, "tenants, all at work": {}}
    there = 1
    for size in sizes:
        _copy_tenants(there, size)
        there = size
        _analyze()
        turns: Iterator[int] = cycle(range(size))

        def run(number: int) -> None:
            with schema_context(f"tenant{number}"):
                get_agent("plain").run("hi")

        works = {
            "litellm": lambda: ask([{"role": "user", "content": "hi"}]),
            "one": lambda: run(0),
            "all": lambda turns=turns: run(next(turns)),  # type: ignore[misc]
        }
        for number in range(size):
            run(number)  # what a connection learns of a tenant at its first run
        ms = measure.interleaved(works, max(rounds, min(size, 1_000)))
        for name, key in (("tenants, one at work", "one"), ("tenants, all at work", "all")):
            found[name][str(size)] = {
                "ms": ms[key],
                "to_litellm": ms[key] / ms["litellm"],
                "ledger_backend_mib": _backend_mib(),
            }
    for rows in found.values():
        first = next(iter(rows.values()))["to_litellm"]
        for row in rows.values():
            row["to_first"] = row["to_litellm"] / first
    return found


def _copy_tenants(first: int, last: int) -> None:
    """Schemas with the tables, indexes and agents of the first tenant, far faster than by migration."""
    from django.db import connection
    from tenants.models import Clinic

    with connection.cursor() as cursor:
        cursor.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'tenant0' ORDER BY tablename")
        tables = [name for (name,) in cursor.fetchall()]
        for number in range(first, last):
            schema = f"tenant{number}"
            made = [f'CREATE SCHEMA "{schema}"']
            made += [f'CREATE TABLE "{schema}"."{t}" (LIKE tenant0."{t}" INCLUDING ALL)' for t in tables]
            made += [
                f'INSERT INTO "{schema}"."{t}" OVERRIDING SYSTEM VALUE SELECT * FROM tenant0."{t}"' for t in _COPIED
            ]
            cursor.execute("; ".join(made))
    Clinic.objects.bulk_create(
        [Clinic(schema_name=f"tenant{number}", name=f"Tenant {number}") for number in range(first, last)]
    )


def _backend_mib() -> float:
    """Memory of its own of the process that serves the ledger's connection."""
    from zango_ai.database import ledger_connection

    with ledger_connection.own_connection().cursor() as cursor:
        cursor.execute("SELECT sum(total_bytes) FROM pg_backend_memory_contexts")
        return float(cursor.fetchone()[0]) / 2**20


def _by_size(works: dict[int, Callable[[], Any]], rounds: int, *, warm: int = 20) -> dict[int, float]:
    ms = measure.interleaved({str(size): work for size, work in works.items()}, rounds, warm=warm)
    return {size: ms[str(size)] for size in works}


def _analyze() -> None:
    """As autovacuum does with tables that have grown."""
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")
        cursor.execute("CHECKPOINT")
    os.sync()
    time.sleep(1)
