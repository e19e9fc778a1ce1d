"""What a tool registers with ``on_commit``, and what is left of a READ_ONLY tool. These tests commit."""

import logging
import time

import pytest
from django.db import connection, transaction
from patients.models import Patient

from tests.build import make_agent_with
from tests.schemas import active_schema
from zango_ai import ToolSafety, get_agent, tool
from zango_ai.models import Invocation, ToolCall
from zango_ai.testing import Call, Reply

pytestmark = pytest.mark.usefixtures("live_north")

BORN = "1957-03-09"
done: list[str] = []


def ask(model, *calls):
    done.clear()
    model.script(Reply(calls=list(calls)), "done")
    response = get_agent("helper").run("hi")
    assert response.content == "done"
    return response.tool_calls


def refuse():
    raise RuntimeError("the hook fails")


def wait():
    time.sleep(0.01)
    done.append("waiting")
    while True:
        sum(range(1000))


def write():
    done.append(active_schema())
    Patient.objects.create(name="By the hook", born=BORN)


HOOKS = {"fails": refuse, "waits": wait, "writes": write, "notes": lambda: done.append("noted")}


@tool(description="Write, and do more after the commit.", safety=ToolSafety.WRITE, timeout_seconds=1)
def write_and_hook(hooks: list[str], robust: bool = False) -> str:
    Patient.objects.create(name="By the tool", born=BORN)
    for name in hooks:
        transaction.on_commit(HOOKS[name], robust=robust)
    return "written"


@tool(description="Read, and do more after the commit.")
def read_and_hook(catches: bool = False) -> int:
    try:
        transaction.on_commit(write)
    except Exception:
        if not catches:
            raise
    return Patient.objects.count()


def names():
    return sorted(Patient.objects.values_list("name", flat=True))


def hooked(*hooks, **arguments):
    return Call("write_and_hook", {"hooks": list(hooks), **arguments})


def test_hooks_run_after_the_commit_in_the_tools_tenant(model):
    make_agent_with(model, write_and_hook)
    (call,) = ask(model, hooked("writes", "notes"))
    assert (call.status, call.result, done) == ("success", "written", ["north", "noted"])
    assert names() == ["By the hook", "By the tool"]
    assert ToolCall.objects.get().error_message == ""
    assert connection.get_autocommit()


def test_a_hook_that_raises_is_on_the_calls_row_and_the_run_goes_on(model, caplog):
    make_agent_with(model, write_and_hook)
    with caplog.at_level(logging.ERROR, "zango_ai.tools"):
        (call,) = ask(model, hooked("notes", "fails", "notes"))
    assert (call.status, call.result) == ("success", "written")
    assert done == ["noted"]  # as in Django, those after it do not run
    assert names() == ["By the tool"]
    row = ToolCall.objects.get()
    assert "on_commit hook" in row.error_message
    assert "RuntimeError: the hook fails" in row.error_message
    assert "refuse" in row.traceback
    assert "on_commit hook" in caplog.text
    assert Invocation.objects.get().status == "success"


def test_a_robust_hook_that_raises_keeps_no_other_from_running(model):
    make_agent_with(model, write_and_hook)
    (call,) = ask(model, hooked("fails", "notes", robust=True))
    assert (call.status, done) == ("success", ["noted"])


def test_a_hook_that_takes_too_long_is_stopped_in_the_tools_time(model):
    make_agent_with(model, write_and_hook)
    started = time.monotonic()
    (call,) = ask(model, hooked("waits", "notes"))
    assert time.monotonic() - started < 20
    assert (call.status, done) == ("success", ["waiting"])
    row = ToolCall.objects.get()
    assert "on_commit hooks did not finish within the tool's 1 s" in row.error_message
    assert names() == ["By the tool"]


def test_hooks_wait_for_the_callers_commit_where_a_transaction_is_open(model):
    make_agent_with(model, write_and_hook)
    with transaction.atomic():
        ask(model, hooked("notes"))
        assert done == []
    assert done == ["noted"]
    with transaction.atomic():
        ask(model, hooked("notes"))
        transaction.set_rollback(True)
    assert done == []


@pytest.mark.parametrize("is_open", [True, False])
def test_a_tool_that_may_only_read_can_register_no_hook(model, is_open):
    make_agent_with(model, read_and_hook)

    def both():
        first, second = ask(model, Call("read_and_hook"), Call("read_and_hook", {"catches": True}))
        assert (first.status, second.status, second.result) == ("error", "success", 0)

    if is_open:
        with transaction.atomic():
            both()
    else:
        both()
    assert names() == []
    assert "ToolSafety.WRITE" in ToolCall.objects.get(status="error").error_message


# What is left of a tool that may only read


@tool(description="Try something.", name="try_sql")
def try_sql(statement: str) -> str:
    with connection.cursor() as cursor:
        cursor.execute(statement)
        return str(cursor.fetchall() if cursor.description else "done")


REFUSED = [
    "SET ROLE postgres",
    "set  local role postgres",
    "/* x */ SET SESSION AUTHORIZATION postgres",
    "RESET ROLE",
    "SELECT 1; SET ROLE postgres",
    "SELECT 1;\nCOPY (SELECT 1) TO '/tmp/x'",
    "SELECT set_config('role', 'postgres', false)",
    "SELECT pg_advisory_lock(42)",
    "SELECT pg_try_advisory_xact_lock(42)",
    "COPY patients_patient TO '/tmp/zango-ai-copied'",
    "COPY (SELECT 1) TO PROGRAM 'true'",
    "SELECT pg_terminate_backend(0)",
    "SELECT lo_export(1, '/tmp/zango-ai-copied')",
]


@pytest.mark.parametrize("is_open", [True, False])
@pytest.mark.parametrize("statement", REFUSED)
def test_statements_that_a_read_only_transaction_allows_are_refused_to_a_tool_that_may_only_read(
    model, statement, is_open
):
    make_agent_with(model, try_sql)
    if is_open:
        with transaction.atomic():
            (call,) = ask(model, Call("try_sql", {"statement": statement}))
            assert Patient.objects.count() == 0
    else:
        (call,) = ask(model, Call("try_sql", {"statement": statement}))
    assert call.status == "error"
    assert "ToolSafety.EXTERNAL" in ToolCall.objects.get().error_message


@pytest.mark.parametrize(
    "statement",
    ["SELECT 'the role of a copy' AS role", "SELECT count(*) FROM patients_patient WHERE name = 'SET sail'"],
)
def test_statements_that_only_read_are_not_refused(model, statement):
    make_agent_with(model, try_sql)
    assert ask(model, Call("try_sql", {"statement": statement}))[0].status == "success"


@tool(description="Leave things behind.")
def leave_things_behind() -> str:
    with connection.cursor() as cursor:
        cursor.execute("SET search_path = public")
        cursor.execute("SET statement_timeout = '5min'")
        cursor.execute("NOTIFY zango_ai_test")
        cursor.connection.execute("SET ROLE pg_monitor")  # past Django's cursor
    return "done"


@pytest.mark.parametrize("is_open", [True, False])
def test_nothing_of_a_tool_that_may_only_read_stays_in_the_session(model, is_open):
    make_agent_with(model, leave_things_behind)

    def session():
        with connection.cursor() as cursor:
            cursor.execute("SELECT current_setting('statement_timeout'), current_user")
            return cursor.fetchone()

    before = session()
    if is_open:
        with transaction.atomic():
            (call,) = ask(model, Call("leave_things_behind"))
            assert session() == before
    else:
        (call,) = ask(model, Call("leave_things_behind"))
    assert call.status == "success"
    assert session() == before


# What the caller has open


@tool(description="Wait in C.", timeout_seconds=0.2, safety=ToolSafety.EXTERNAL)
def wait_in_c_outside() -> None:
    Patient.objects.count()
    time.sleep(1.2)


@tool(description="Wait in C.", timeout_seconds=0.2, safety=ToolSafety.WRITE)
def wait_in_c_and_write() -> None:
    Patient.objects.create(name="Lost", born=BORN)
    time.sleep(1.2)


@tool(description="Copy without end.", timeout_seconds=0.3, safety=ToolSafety.EXTERNAL)
def copy_without_end() -> None:
    sql = "COPY (SELECT generate_series(1, 100000000)) TO STDOUT"
    with connection.cursor() as cursor, cursor.copy(sql) as copy:
        for _ in copy:
            pass


@tool(description="Wait in SQL.", timeout_seconds=0.3, safety=ToolSafety.EXTERNAL)
def wait_in_sql_outside() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_sleep(60)")


@tool(description="Wait in C in the middle of a copy.", timeout_seconds=0.2, safety=ToolSafety.EXTERNAL)
def wait_in_c_in_a_copy() -> None:
    sql = "COPY (SELECT generate_series(1, 100000000)) TO STDOUT"
    with connection.cursor() as cursor, cursor.copy(sql) as copy:
        for _ in copy:
            time.sleep(1.2)


@tool(description="Wait in C in the middle of a copy.", timeout_seconds=0.2, safety=ToolSafety.WRITE)
def wait_in_c_in_a_copy_in() -> None:
    with connection.cursor() as cursor, cursor.copy("COPY patients_patient FROM STDIN"):
        time.sleep(1.2)


LATE = [
    *(wait_in_c_outside, wait_in_c_and_write, wait_in_sql_outside),
    *(copy_without_end, wait_in_c_in_a_copy, wait_in_c_in_a_copy_in),
]


@pytest.mark.parametrize("is_open", [True, False])
@pytest.mark.parametrize("function", LATE, ids=lambda function: function.__name__)
def test_a_tool_that_does_not_end_in_time_leaves_the_callers_cursors_open(model, function, is_open):
    """The connection was closed, and with it the cursor that the caller was reading from."""
    make_agent_with(model, function)
    Patient.objects.bulk_create([Patient(name=f"{n}", born=BORN) for n in range(10)])

    def read():
        rows = Patient.objects.order_by("pk").iterator(chunk_size=2)
        first = next(rows).name
        (call,) = ask(model, Call(function.tool.name))
        assert call.status == "timeout"
        assert [first, *(patient.name for patient in rows)] == [f"{n}" for n in range(10)]

    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        before = cursor.fetchone()
    if is_open:
        with transaction.atomic():
            read()
    else:
        read()
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        assert cursor.fetchone() == before
    assert Patient.objects.count() == 10
