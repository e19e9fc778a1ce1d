"""What a run takes in the database: bytes of its rows and indexes, and the time of its statements."""

from __future__ import annotations

import random
import string
import time
from collections.abc import Callable, Mapping
from typing import Any
from unittest import mock

_VOCABULARY = random.Random("words")
_WORDS = ["".join(_VOCABULARY.choices(string.ascii_lowercase, k=_VOCABULARY.randint(2, 9))) for _ in range(5_000)]
PROMPT_CHARS, QUESTION_CHARS, ANSWER_CHARS = 1_500, 200, 400
_USER = "6f1c9a52-0b7e-4c1d-9a5e-3d2f8b7c6a10"


def _text(seed: object, chars: int) -> str:
    """Words of as much variety as a text has: repetitions would be compressed away."""
    chance = random.Random(str(seed))
    return " ".join(chance.choices(_WORDS, k=chars // 5))[:chars]


def measured(server: Any, rounds: int) -> dict[str, Any]:
    """For each kind of run: bytes in the database, and the time of the statement that writes the request."""
    return {name: _measure(run, rounds) for name, run in _runs(server).items()}


def _runs(server: Any) -> dict[str, Callable[[int], Any]]:
    from tests.build import make_agent, make_agent_with, make_prompt, make_provider
    from zango_ai import get_agent, tool

    @tool(description="What the clinic knows about a patient. " * 3)
    def bench_patient(number: int = 1) -> str:
        return _text(f"patient {number}", ANSWER_CHARS)

    provider, prompt = make_provider(server), make_prompt(_text("system", PROMPT_CHARS), "system")
    shared = {"provider": provider, "system_prompt": prompt}
    make_agent(server, "bytes_plain", **shared)
    make_agent_with(server, bench_patient, name="bytes_tool", **shared)
    for name, pairs in (("bytes_short", 20), ("bytes_user", 20), ("bytes_long", 1_000)):
        agent = make_agent(
            server, name, short_term_memory=True, short_term_memory_max_messages=pairs, timeout_seconds=60, **shared
        )
        _fill_session(agent, 5_000)

    def run(name: str, **more: Any) -> Callable[[int], Any]:
        return lambda number: get_agent(name).run(_text(number, QUESTION_CHARS), **more)

    return {
        "plain": run("bytes_plain"),
        "one tool call": run("bytes_tool"),
        "turn of a conversation, 40 messages sent": run("bytes_short", session_id="s"),
        "the same, asked by a user": run("bytes_user", session_id="s", user_ref=_USER),
        "turn of a conversation, 2,000 messages sent": run("bytes_long", session_id="s"),
    }


def _fill_session(agent: Any, count: int) -> None:
    from zango_ai import get_agent
    from zango_ai.models import MemoryMessage, MemorySession

    get_agent(agent.name).run("first", session_id="s")
    session = MemorySession.objects.get(agent=agent)
    chars = (ANSWER_CHARS, QUESTION_CHARS)
    MemoryMessage.objects.bulk_create(
        [
            MemoryMessage(
                session=session, sequence=n, role=("assistant", "user")[n % 2], content=_text(-n, chars[n % 2])
            )
            for n in range(3, count + 1)
        ],
        batch_size=2_000,
    )
    MemorySession.objects.filter(pk=session.pk).update(last_sequence=count, turns_count=count // 2)


def _measure(run: Callable[[int], Any], rounds: int) -> dict[str, float]:
    from zango_ai.database import writer

    spent: list[float] = []
    once = writer.execute_on

    def timed(connection: Any, sql: str, params: Mapping[str, Any]) -> Any:
        started = time.perf_counter()
        rows = once(connection, sql, params)
        if "exceeded_budget" in sql:
            spent.append((time.perf_counter() - started) * 1000)
        return rows

    for number in range(5):
        run(number)
    size = _size()
    with mock.patch.object(writer, "execute_on", timed):
        for number in range(5, rounds + 5):
            run(number)
    return {
        "bytes": (_size() - size) / rounds,
        "reserve_ms": sorted(spent)[len(spent) // 2],
    }


def _size() -> int:
    """Bytes of the tenant's tables and indexes, once they are compact."""
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT tablename FROM pg_tables WHERE schemaname = current_schema() AND tablename LIKE 'zango%'"
        )
        tables = [name for (name,) in cursor.fetchall()]
        for name in tables:
            cursor.execute(f'VACUUM FULL ANALYZE "{name}"')
        cursor.execute(
            "SELECT sum(pg_total_relation_size(quote_ident(t)::regclass)) FROM unnest(%s::text[]) t", [tables]
        )
        size = cursor.fetchone()[0]
        return int(size)
