"""What a process pays before its first answer: ``django.setup()`` with and without the app, and the first runs."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from typing import Any

from tests.benchmarks.site import EXAMPLE

SETUP = """
import json, os, sys, time
from django.conf import settings

sys.path[:0] = {path!r}
shared = ["django_tenants", "tenants", "django.contrib.contenttypes"]
of_tenants = ["django.contrib." + name for name in ("auth", "sessions", "messages", "admin")] + {apps!r}
settings.configure(
    INSTALLED_APPS=[*shared, *of_tenants], SHARED_APPS=shared, TENANT_APPS=of_tenants,
    TENANT_MODEL="tenants.Clinic", TENANT_DOMAIN_MODEL="tenants.Domain",
    DATABASES={{"default": {{"ENGINE": "django_tenants.postgresql_backend", "NAME": "none"}}}},
    DATABASE_ROUTERS=["django_tenants.routers.TenantSyncRouter"],
    USE_TZ=True, DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
)
import django

started = time.perf_counter()
django.setup()
ms = (time.perf_counter() - started) * 1000
with open("/proc/self/statm") as file:
    rss_mib = int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20
print(json.dumps({{"ms": ms, "mib": rss_mib, "modules": len(sys.modules),
    "litellm": "litellm" in sys.modules, "celery": "celery" in sys.modules}}))
"""
FIRST = """
import json, sys, time
sys.path[:0] = {path!r}
times = []
def clock(name, work):
    started = time.perf_counter()
    work()
    times.append([name, (time.perf_counter() - started) * 1000])

import django
clock("django.setup()", django.setup)
from django.test.utils import override_settings
from django_tenants.utils import schema_context
import zango_ai

with override_settings(ZANGO_AI={{"ALLOWED_API_BASES": [{url!r}]}}, DEBUG=False), schema_context({schema!r}):
    if {warm}:
        clock("zango_ai.warm_up()", zango_ai.warm_up)
    else:
        def load():
            from zango_ai.providers import litellm_import
            litellm_import.load()
        clock("import of litellm", load)
    for name in ("first run", "second run", "third run"):
        clock(name, lambda: zango_ai.get_agent("plain").run("hi"))
print(json.dumps(times))
"""


def measured(server: Any, rounds: int) -> dict[str, Any]:
    """In processes of their own, by turns; medians. Bytecode is compiled, the files are in the system's cache."""
    found: dict[str, list[dict[str, Any]]] = {"without": [], "with": []}
    for number in range(rounds + 1):
        for name, apps in (("without", []), ("with", ["zango_ai"])):
            said = _child(SETUP.format(apps=apps, path=_path()))
            if number:
                found[name].append(said)
    medians = {
        name: {key: statistics.median(each[key] for each in all_of) for key in ("ms", "mib", "modules")}
        for name, all_of in found.items()
    }
    added = {key: medians["with"][key] - medians["without"][key] for key in ("ms", "mib", "modules")}
    assert not any(each["litellm"] or each["celery"] for each in found["with"])
    return {"django.setup()": {**medians, "added": added}, "first": _first(server, rounds)}


def _first(server: Any, rounds: int) -> dict[str, dict[str, float]]:
    from django.db import connection

    from tests.build import make_agent

    make_agent(server, "plain")
    figures = {}
    for name, warm in (("not warmed up", False), ("warmed up", True)):
        code = FIRST.format(path=_path(), url=server.url, schema=connection.schema_name, warm=warm)
        said = [dict(_child(code)) for _ in range(max(rounds // 4, 1))]
        figures[name] = {step: statistics.median(each[step] for each in said) for step in said[0]}
    return figures


def _path() -> list[str]:
    return [str(EXAMPLE), *(path for path in sys.path if path)]


def _child(code: str) -> Any:
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr)
    return json.loads(done.stdout.splitlines()[-1])
