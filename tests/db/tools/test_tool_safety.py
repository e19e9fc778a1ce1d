"""What a tool does to the caller's transaction, what it cannot do, and how long it may take. These tests commit."""

import asyncio
import os
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest
from asgiref.sync import sync_to_async
from celery.exceptions import SoftTimeLimitExceeded
from django.db import IntegrityError, close_old_connections, connection, transaction
from patients.models import Patient

from tests.build import make_agent_with
from tests.children import child, said
from tests.schemas import active_schema, needs_tenants, schema_context, set_schema
from tests.together import run_together
from zango_ai import ToolSafety, get_agent, tool
from zango_ai.models import Invocation, ToolCall
from zango_ai.testing import Call, Reply

pytestmark = pytest.mark.usefixtures("live_north")

BORN = "1957-03-09"
SAFETIES = list(ToolSafety)


@tool(description="Count the patients.")
def count_patients() -> int:
    return Patient.objects.count()


@tool(description="Add a patient.", safety=ToolSafety.WRITE)
def add_patient(name: str) -> int:
    return Patient.objects.create(name=name, born=BORN).pk


@tool(description="Add a patient, and fail.", safety=ToolSafety.WRITE)
def add_and_fail(name: str) -> int:
    Patient.objects.create(name=name, born=BORN)
    raise RuntimeError("no")


@tool(description="Read, and write all the same.")
def write_secretly(how: str) -> str:
    if how == "orm":
        Patient.objects.create(name="Secret", born=BORN)
    with connection.cursor() as cursor:
        if how == "mode":
            cursor.execute("SET TRANSACTION READ WRITE")
        if how == "setting":
            cursor.execute("SET transaction_read_only = off")
        if how == "rollback":
            cursor.execute("ROLLBACK TO SAVEPOINT nothing")
        cursor.execute("DELETE FROM patients_patient")
    return "done"


def ask(model, *calls, **arguments):
    model.script(Reply(calls=list(calls)), "done")
    return get_agent("helper").run("hi", **arguments).tool_calls


@contextmanager
def open_transaction(is_open):
    if is_open:
        with transaction.atomic():
            yield
    else:
        yield


def test_a_tool_sees_what_the_caller_has_not_committed(model):
    make_agent_with(model, count_patients)
    with transaction.atomic():
        Patient.objects.create(name="Ada", born=BORN)
        assert ask(model, Call("count_patients"))[0].result == 1
        transaction.set_rollback(True)


def test_what_a_tool_writes_is_part_of_the_callers_transaction(model):
    make_agent_with(model, add_patient)
    with transaction.atomic():
        ask(model, Call("add_patient", {"name": "Ada"}))
        assert Patient.objects.count() == 1
        transaction.set_rollback(True)
    assert Patient.objects.count() == 0
    assert ToolCall.objects.get().status == "success"  # the log stays
    ask(model, Call("add_patient", {"name": "Ada"}))
    assert Patient.objects.count() == 1


@pytest.mark.parametrize("is_open", [True, False])
def test_what_a_tool_that_fails_has_written_is_undone_and_no_more(model, is_open):
    make_agent_with(model, add_and_fail, add_patient)
    with open_transaction(is_open):
        Patient.objects.create(name="Before", born=BORN)
        statuses = [
            call.status
            for call in ask(
                model,
                Call("add_patient", {"name": "First"}),
                Call("add_and_fail", {"name": "Lost"}),
                Call("add_patient", {"name": "Last"}),
            )
        ]
        Patient.objects.create(name="After", born=BORN)
    assert statuses == ["success", "error", "success"]
    assert set(Patient.objects.values_list("name", flat=True)) == {"Before", "First", "Last", "After"}


@pytest.mark.parametrize("is_open", [True, False])
@pytest.mark.parametrize("how", ["orm", "sql", "mode", "setting", "rollback"])
def test_a_tool_that_may_only_read_cannot_write(model, how, is_open):
    """Whatever it tries: PostgreSQL refuses, and the caller's transaction stays usable."""
    make_agent_with(model, write_secretly, add_patient)
    with open_transaction(is_open):
        Patient.objects.create(name="Ada", born=BORN)
        tried, written = ask(model, Call("write_secretly", {"how": how}), Call("add_patient", {"name": "After"}))
        assert (tried.status, written.status) == ("error", "success")
        Patient.objects.create(name="Usable", born=BORN)
    assert set(Patient.objects.values_list("name", flat=True)) == {"Ada", "After", "Usable"}
    if how in {"orm", "sql"}:
        assert "ToolSafety.WRITE" in ToolCall.objects.get(status="error").error_message


@tool(description="Break the transaction.", safety=ToolSafety.EXTERNAL)
def break_transaction(how: str) -> str:
    patient = Patient.objects.create(name="Twice", born=BORN)
    if how == "caught":
        try:
            with connection.cursor() as cursor:
                cursor.execute("INSERT INTO patients_patient SELECT * FROM patients_patient")
        except IntegrityError:
            pass
    if how == "marked":
        transaction.set_rollback(True)
    if how == "raised":
        Patient.objects.create(pk=patient.pk, name="Twice", born=BORN)
    if how == "left open":
        transaction.set_autocommit(False)
        Patient.objects.create(name="In the open", born=BORN)
    if how == "closed":
        connection.close()
        close_old_connections()
    return "done"


@pytest.mark.parametrize("is_open", [True, False])
@pytest.mark.parametrize("how", ["caught", "marked", "raised", "left open", "closed"])
def test_a_tool_that_breaks_its_transaction_breaks_neither_run_nor_caller(model, how, is_open):
    make_agent_with(model, break_transaction)
    with open_transaction(is_open):
        Patient.objects.create(name="Ada", born=BORN)
        ask(model, Call("break_transaction", {"how": how}))
        Patient.objects.create(name="After", born=BORN)
        assert connection.get_autocommit() is not is_open
    names = set(Patient.objects.values_list("name", flat=True))
    assert {"Ada", "After"} <= names
    assert "In the open" not in names
    row = Invocation.objects.get()
    assert (row.status, row.response_content) == ("success", "done")
    expected = {"closed": "success"}.get(how, "error" if is_open or how in {"raised", "marked"} else "success")
    assert ToolCall.objects.get().status == expected


def test_a_tool_is_called_where_the_callers_transaction_is_broken_already(model):
    make_agent_with(model, shout, count_patients)
    with transaction.atomic():
        with pytest.raises(IntegrityError), connection.cursor() as cursor:
            cursor.execute("INSERT INTO patients_patient (name) VALUES (NULL)")
        made = ask(model, Call("shout", {"text": "a"}), Call("count_patients"))
        assert [call.status for call in made] == ["success", "error"]
        transaction.set_rollback(True)


@tool(description="Shout.")
def shout(text: str) -> str:
    return text.upper()


hooks = []


@tool(description="Have something done after the commit.", safety=ToolSafety.WRITE)
def hook(fails: bool = False) -> str:
    Patient.objects.create(name="Hooked", born=BORN)
    with transaction.atomic():
        transaction.on_commit(lambda: hooks.append(1))
    if fails:
        raise RuntimeError("no")
    return "done"


def test_what_a_tool_wants_done_on_commit_is_done_when_the_caller_commits(model):
    make_agent_with(model, hook)
    hooks.clear()
    with transaction.atomic():
        ask(model, Call("hook"), Call("hook", {"fails": True}))
        assert hooks == []
    assert hooks == [1]
    ask(model, Call("hook"))
    assert hooks == [1, 1]


# Time


@tool(description="Loop in Python.", timeout_seconds=0.3)
def loop() -> str:
    while True:
        try:
            sum(range(1000))
        except Exception:
            continue


@tool(description="Wait in SQL.", timeout_seconds=0.3)
def wait_in_sql() -> str:
    Patient.objects.count()
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_sleep(60)")
    return "late"


woken = threading.Event()
afterwards = []


@tool(description="Wait in C.", timeout_seconds=0.3, safety=ToolSafety.WRITE)
def wait_in_c() -> str:
    with transaction.atomic(), connection.cursor() as cursor:
        Patient.objects.create(name="Too late", born=BORN)
        try:
            time.sleep(1.5)
        finally:
            try:
                cursor.execute("DELETE FROM patients_patient")
                afterwards.append("deleted")
            except BaseException as exc:
                afterwards.append(type(exc).__name__)
            try:
                Patient.objects.all().delete()
                afterwards.append("deleted")
            except BaseException as exc:
                afterwards.append(type(exc).__name__)
            woken.set()
    return "late"


def tools_at_work():
    return [thread for thread in threading.enumerate() if thread.name == "zango-ai-tool"]


def check_it_is_over(model, made, is_open):
    with open_transaction(is_open):
        Patient.objects.create(name="Ada", born=BORN)
        started = time.monotonic()
        call, after = ask(model, Call(made.tool.name), Call("add_patient", {"name": "Next"}))
        assert time.monotonic() - started < 30
        assert (call.status, after.status) == ("timeout", "success")
        Patient.objects.create(name="After", born=BORN)
    assert set(Patient.objects.values_list("name", flat=True)) == {"Ada", "Next", "After"}
    row = ToolCall.objects.get(tool_name=made.tool.name)
    assert row.status == "timeout"
    assert "timed out" in row.result["message"]


@pytest.mark.parametrize("is_open", [True, False])
@pytest.mark.parametrize("made", [loop, wait_in_sql], ids=lambda made: made.__name__)
def test_a_tool_that_takes_too_long_is_stopped(model, made, is_open):
    make_agent_with(model, made, add_patient)
    check_it_is_over(model, made, is_open)
    assert tools_at_work() == []


@pytest.mark.parametrize("is_open", [True, False])
def test_a_tool_that_cannot_be_stopped_is_left_behind_without_the_database(model, is_open):
    """It comes back from C when the caller is long past it, and finds nothing to write to."""
    make_agent_with(model, wait_in_c, add_patient)
    woken.clear()
    afterwards.clear()
    check_it_is_over(model, wait_in_c, is_open)
    assert woken.wait(20)
    assert "deleted" not in afterwards
    assert len(afterwards) == 2
    assert set(Patient.objects.values_list("name", flat=True)) == {"Ada", "Next", "After"}
    assert "cannot be interrupted" in ToolCall.objects.get(tool_name="wait_in_c").error_message


def test_time_is_kept_in_other_threads_too(model):
    make_agent_with(model, loop, wait_in_sql, add_patient)
    model.script(*[Reply(calls=[Call("loop"), Call("wait_in_sql")])] * 4, *["done"] * 4)
    statuses = []

    def work():
        with schema_context("north"):
            statuses.extend(call.status for call in get_agent("helper").run("hi").tool_calls)

    run_together([work] * 4)
    assert set(statuses) == {"timeout"}


@pytest.mark.parametrize("made", [loop, wait_in_sql], ids=lambda made: made.__name__)
def test_the_hosts_signal_handlers_and_alarms_are_left_alone(model, made):
    make_agent_with(model, made)
    seen = []
    before = signal.signal(signal.SIGALRM, lambda *args: seen.append("host"))
    signal.setitimer(signal.ITIMER_REAL, 0.1)
    try:
        handler = signal.getsignal(signal.SIGALRM)
        assert ask(model, Call(made.tool.name))[0].status == "timeout"
        assert signal.getsignal(signal.SIGALRM) is handler
        assert seen == ["host"]
    finally:
        signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize("is_open", [True, False])
def test_what_cuts_into_a_run_while_a_tool_works_stops_the_tool(model, is_open):
    make_agent_with(model, wait_long)

    def cut(*args):
        raise SoftTimeLimitExceeded

    before = signal.signal(signal.SIGALRM, cut)
    signal.setitimer(signal.ITIMER_REAL, 1.0)
    try:
        with open_transaction(is_open):
            Patient.objects.create(name="Ada", born=BORN)
            with pytest.raises(SoftTimeLimitExceeded):
                ask(model, Call("wait_long"))
            Patient.objects.create(name="After", born=BORN)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert Patient.objects.count() == 2
    row = ToolCall.objects.get()
    assert (row.status, Invocation.objects.get().status) == ("error", "failed")
    assert "interrupted" in row.error_message
    assert tools_at_work() == []


@tool(description="Wait in SQL for long.", timeout_seconds=60)
def wait_long() -> str:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_sleep(60)")
    return "late"


# The tenant


@tool(description="Go to another tenant and stay there.", safety=ToolSafety.WRITE)
def go_south() -> str:
    set_schema("south")
    Patient.objects.count()
    return active_schema()


@needs_tenants
def test_a_tool_works_in_the_callers_tenant_and_leaves_it_as_it_was(model):
    make_agent_with(model, go_south, add_patient)
    ask(model, Call("go_south"), Call("add_patient", {"name": "Ada"}))
    assert active_schema() == "north"
    assert Patient.objects.get().name == "Ada"
    with schema_context("south"):
        assert not Patient.objects.exists()


# A process that dies


@tool(description="Act outside.", safety=ToolSafety.EXTERNAL)
def act_outside(file: str) -> str:
    with open(file, "a") as handle:
        handle.write("x")
    os.kill(os.getpid(), signal.SIGKILL)
    return "done"


CHILD = """
from tests.db.tools.test_tool_safety import act_outside
get_agent("helper").run("hi")
"""


def test_a_process_that_dies_in_a_tool_leaves_the_call_and_it_is_not_made_again(model, tmp_path):
    from tests.db.log.test_maintenance import let_pass, maintained

    make_agent_with(model, act_outside)
    outside = tmp_path / "outside"
    model.script(Reply(calls=[Call("act_outside", {"file": str(outside)})]), "never asked")
    with child(CHILD) as process:
        assert process.wait(60) == -signal.SIGKILL
    assert outside.read_text() == "x"
    assert ToolCall.objects.get().status == "running"
    let_pass(200)
    assert "1 abandoned" in maintained()
    assert Invocation.objects.get().status == "abandoned"
    row = ToolCall.objects.get()
    assert (row.status, bool(row.error_message)) == ("error", True)
    assert outside.read_text() == "x"


# Limits


@tool(description="Now and then.", rate_limit=10)
def now_and_then() -> str:
    return "done"


LIMITED = """
from tests.db.tools.test_tool_safety import now_and_then
print([call.status for call in get_agent("helper").run("hi").tool_calls].count("success"))
"""


def test_a_limit_a_minute_holds_across_processes_and_says_when_to_try_again(model):
    make_agent_with(model, now_and_then)
    model.script(*[Reply(calls=[Call("now_and_then")] * 8)] * 2, *["done"] * 2)
    with child(LIMITED) as one, child(LIMITED) as two:
        passed = int(said(one)) + int(said(two))
    rows = ToolCall.objects.all()
    assert passed == rows.filter(status="success").count()
    lasted = (rows.latest("id").created_at - rows.earliest("id").created_at).total_seconds()
    assert 10 <= passed <= 10 + 1 + lasted / 6
    limited = rows.filter(status="rate_limited").first()
    assert "Try again in" in limited.result["message"]
    with schema_context("south"):  # each tenant has its own allowance
        make_agent_with(model, now_and_then)
        assert ask(model, Call("now_and_then"))[0].status == "success"


def test_a_tool_that_takes_long_keeps_its_run_alive(model, monkeypatch):
    from zango_ai.tools import time_limit

    make_agent_with(model, wait_in_sql)
    monkeypatch.setattr(time_limit, "HEARTBEAT_S", 0.1)
    before = []

    def watch():
        model.wait_for_requests(1)
        with schema_context("north"):
            for _ in range(100):
                before.append(Invocation.objects.values_list("updated_at", flat=True).first())
                time.sleep(0.01)

    def run():
        with schema_context("north"):
            ask(model, Call("wait_in_sql"))

    run_together([run, watch])
    assert len(set(before)) > 3


def test_time_is_kept_under_asgi(model):
    make_agent_with(model, loop, wait_in_sql, add_patient)
    model.script(Reply(calls=[Call("loop"), Call("wait_in_sql"), Call("add_patient", {"name": "Ada"})]), "done")

    def view():
        try:
            with schema_context("north"):
                return [call.status for call in get_agent("helper").run("hi").tool_calls]
        finally:
            connection.close()

    async def handle():
        return await sync_to_async(view)()

    with ThreadPoolExecutor(1) as server:
        statuses = server.submit(asyncio.run, handle()).result()
    assert statuses == ["timeout", "timeout", "success"]
    assert Patient.objects.get().name == "Ada"
