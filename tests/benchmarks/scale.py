"""Whether the admin's pages take longer in a large log: the same pages in two tenants, by turns."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from tests.benchmarks import measure, site

SMALL = 2_000
AGENTS, PROVIDERS, MODELS, USERS, SESSIONS = 8, 3, 5, 20, 30
"""Few, so that each has a full page of runs in the small log."""
_RARE = 60
"""Only so many runs, the oldest, have the rare agent and the rare status."""
_REPLAY_EVERY = 15
"""Each fifteenth run of the first year is a replay, and none of the second."""
_DAYS = 730

PAGES = {
    "list": "invocation/",
    "list, an older page": "invocation/?before={middle}",
    "list, back to a newer page": "invocation/?after={middle}",
    "agent": "invocation/?agent_name=agent-3",
    "agent that was only used long ago": "invocation/?agent_name=rare",
    "provider": "invocation/?provider_name=provider-1",
    "model": "invocation/?model=model-2",
    "status: success": "invocation/?status__exact=success",
    "status: abandoned": "invocation/?status__exact=abandoned",
    "trigger": "invocation/?triggered_by__exact=system",
    "in a conversation": "invocation/?memory=yes",
    "without memory": "invocation/?memory=no",
    "session": "invocation/?session_id=session-9",
    "user": "invocation/?user_ref=user-7",
    "without replays": "invocation/?replays=no",
    "only replays": "invocation/?replays=only",
    "last 30 days": "invocation/?created=30",
    "a month a year ago": "invocation/?created={month}",
    "agent, and the year before last": "invocation/?agent_name=agent-3&created={year}",
    "search: id": "invocation/?q={middle}",
    "search: run id": "invocation/?q={run_id}",
    "search: user": "invocation/?q=user-7",
    "landing page": "",
}


def measured(rows: int, rounds: int) -> dict[str, Any]:
    """For each page the median in a tenant with ``SMALL`` runs, and in one with ``rows``."""
    sizes = {"small": SMALL, "large": rows}
    for name, size in sizes.items():
        site.add_tenant(name)
        _fill(name, size)
    works: dict[str, Callable[[], Any]] = {}
    for name in sizes:
        works |= {f"{name}: {page}": work for page, work in _pages(name).items()}
        works |= {f"{name}: {figures}": work for figures, work in _figures(name).items()}
    ms = measure.interleaved(works, rounds, warm=2, pause_s=0)
    pages = [name.removeprefix("small: ") for name in ms if name.startswith("small: ")]
    return {
        "rows": sizes,
        "ms": {
            page: {name: ms[f"{name}: {page}"] for name in sizes}
            | {"to_small": ms[f"large: {page}"] / ms[f"small: {page}"]}
            for page in pages
        },
    }


def _pages(schema: str) -> dict[str, Callable[[], Any]]:
    from django.contrib.auth.models import User
    from django.db import connection
    from django.test import Client
    from django.urls import reverse
    from django.utils import timezone
    from django_tenants.utils import get_tenant_domain_model, get_tenant_model, schema_context

    from zango_ai.models import Invocation

    with schema_context("public"):
        tenant = get_tenant_model().objects.get(schema_name=schema)
        get_tenant_domain_model().objects.get_or_create(domain=f"{schema}.localhost", tenant=tenant)
    client = Client(headers={"host": f"{schema}.localhost"})
    with schema_context(schema):
        client.force_login(User.objects.create_superuser("bench"))
        keys = Invocation.objects.order_by("pk").values_list("pk", "run_id")
        middle, run_id = keys[_count(connection, schema) // 2]
        root = reverse("admin:app_list", args=["zango_ai"])
    ago = [timezone.localdate() - timedelta(days=days) for days in (365, 395, 730)]
    filled = {"middle": middle, "run_id": run_id, "month": f"{ago[1]}..{ago[0]}", "year": f"{ago[2]}..{ago[0]}"}

    def get(address: str) -> None:
        page = client.get(root + address.format(**filled))
        assert page.status_code == 200, (address, page.status_code)

    return {name: lambda address=address: get(address) for name, address in PAGES.items()}  # type: ignore[misc]


def _figures(schema: str) -> dict[str, Callable[[], Any]]:
    from django_tenants.utils import schema_context

    from zango_ai.ledger import usage

    def within(figures: Callable[[], Any]) -> None:
        with schema_context(schema):
            figures()

    return {
        "figures: header": lambda: within(usage.header),
        "figures: agents, 24 h and 30 days": lambda: within(usage.per_agent),
        "figures: days by agent": lambda: within(lambda: usage.per_day("agent")),
    }


def _count(connection: Any, schema: str) -> int:
    with connection.cursor() as cursor:
        cursor.execute(f'SELECT count(*) FROM "{schema}".zango_ai_invocation')
        return int(cursor.fetchone()[0])


def _fill(schema: str, size: int) -> None:
    """Runs of the last two years, evenly spread, each with 1 KB of texts and two rounds."""
    from django.db import connection
    from django_tenants.utils import schema_context

    from zango_ai.ledger import usage_upkeep

    with schema_context(schema):
        with connection.cursor() as cursor:
            cursor.execute(_RUNS.format(schema=schema, size=size))
            cursor.execute(_ROUNDS.format(schema=schema))
            for table in ("zango_ai_invocation", "zango_ai_invocationround"):
                cursor.execute(f"SELECT setval(pg_get_serial_sequence('\"{schema}\".{table}', 'id'), {2 * size})")
        usage_upkeep.correct(schema)
        with connection.cursor() as cursor:
            for table in ("zango_ai_invocation", "zango_ai_invocationround", "zango_ai_usagerollup"):
                cursor.execute(f'VACUUM ANALYZE "{schema}".{table}')


_RUNS = f"""
INSERT INTO "{{schema}}".zango_ai_invocation (id, created_at, updated_at, run_id, agent_id, agent_name, provider_id,
    provider_name, model, triggered_by, status, user_ref, session_id, rendered_user_prompt, response_content,
    input_tokens, output_tokens, cost_usd, latency_ms, rounds_count, started_at, finished_at, finished_on,
    replay_of_id)
SELECT n, at, at, gen_random_uuid(), n % {AGENTS} + 1,
    CASE WHEN n <= {_RARE} THEN 'rare' ELSE 'agent-' || n % {AGENTS} END, n % {PROVIDERS} + 1,
    'provider-' || n % {PROVIDERS}, 'model-' || n % {MODELS},
    CASE WHEN n % 20 = 0 THEN 'system' WHEN n % 7 = 0 THEN 'task' ELSE 'user' END,
    CASE WHEN n <= {_RARE} THEN 'abandoned' WHEN n % 40 = 0 THEN 'failed' ELSE 'success' END,
    'user-' || n % {USERS}, CASE WHEN n % 3 = 0 THEN 'session-' || n % {SESSIONS} END,
    repeat(md5(n::text), 16), repeat(md5(n::text), 16), 400, 100, 0.001, 900, 2, at, at, at::date,
    CASE WHEN n % {_REPLAY_EVERY} = 0 AND n <= {{size}} / 2 THEN n - 1 END
FROM generate_series(1, {{size}}) n,
    LATERAL (SELECT now() - ({{size}} - n) * interval '{_DAYS} days' / {{size}}) t(at)
"""
_ROUNDS = """
INSERT INTO "{schema}".zango_ai_invocationround (id, created_at, updated_at, invocation_id, number, provider_id,
    provider_name, model, status, response_content, input_tokens, output_tokens, cost_usd, charged_usd, latency_ms)
SELECT 2 * id + number - 2, created_at, created_at, id, number, provider_id, provider_name, model, 'success',
    response_content, 200, 50, 0.0005, 0.0005, 450
FROM "{schema}".zango_ai_invocation, (VALUES (1), (2)) rounds(number)
"""
