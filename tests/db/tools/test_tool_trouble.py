"""Tools that do what nobody expects of them, and what is whole afterwards. These tests commit."""

import gc
import itertools
import threading
import time
from dataclasses import dataclass

import pytest
from django.db import connection, transaction
from patients.models import Patient
from pydantic import BaseModel

from tests.build import make_agent, make_agent_with
from zango_ai import ToolParam, ToolSafety, get_agent, tool
from zango_ai.configuration import tool_rows
from zango_ai.exceptions import NotAwaitingApproval
from zango_ai.ledger import stored_runs
from zango_ai.models import AgentConfig, Invocation, MemoryMessage, Tool, ToolCall
from zango_ai.testing import Call, Reply
from zango_ai.tools import execution, registry

live = pytest.mark.usefixtures("live_north")
BORN = "1957-03-09"


def ask(model, *calls, **arguments):
    model.script(Reply(calls=list(calls)), "done")
    return get_agent("helper").run("hi", **arguments).tool_calls


def call(function, **arguments):
    return execution.execute(function.tool, arguments, max_chars=9_999)


@tool(description="Ask small things without end.", safety=ToolSafety.WRITE, timeout_seconds=0.02)
def ask_without_end() -> None:
    with connection.cursor() as cursor:
        while True:
            cursor.execute("SELECT g FROM generate_series(1, 2000) g")
            cursor.fetchall()


@tool(description="Write without end.", safety=ToolSafety.WRITE, timeout_seconds=0.02)
def write_without_end() -> None:
    while True:
        with transaction.atomic():
            Patient.objects.create(name="x", born=BORN)


@live
# Django 6.1's models have a __del__. Python reports an exception raised inside one, and the worker raises it again.
@pytest.mark.filterwarnings("ignore:Exception ignored .*ModelState.__del__:pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("function", [ask_without_end, write_without_end], ids=lambda f: f.__name__)
def test_a_tool_that_is_stopped_in_the_middle_of_a_statement_leaves_the_transaction_whole(function):
    """With the result of the statement left unread, most such calls broke the transaction."""
    for _ in range(60):
        with transaction.atomic():
            Patient.objects.create(name="mine", born=BORN)
            assert "did not finish" in str(call(function).error)
            assert Patient.objects.filter(name="mine").exists()
        assert not Patient.objects.filter(name="x").exists()
        Patient.objects.all().delete()


@tool(description="Fail with a cursor open at the server.", safety=ToolSafety.WRITE)
def fail_in_an_iterator() -> None:
    for patient in Patient.objects.iterator(chunk_size=1):
        raise RuntimeError(patient.name)


@live
def test_a_cursor_at_the_server_that_a_failed_tool_leaves_harms_nobody(model):
    """Closed when its frame dies, it was an error in whatever transaction the caller had by then."""
    Patient.objects.bulk_create([Patient(name="a", born=BORN), Patient(name="b", born=BORN)])
    with transaction.atomic():
        assert "RuntimeError: a" in str(call(fail_in_an_iterator).error)
        gc.collect()
        assert Patient.objects.count() == 2
    with transaction.atomic():
        gc.collect()
        assert Patient.objects.count() == 2


@tool(name="add_one", description="Add a patient.", safety=ToolSafety.WRITE)
def add() -> int:
    return Patient.objects.create(name="by the tool", born=BORN).pk


@live
def test_a_transaction_that_the_caller_has_begun_by_hand_stays_the_callers():
    transaction.set_autocommit(False)
    try:
        Patient.objects.create(name="by the caller", born=BORN)
        assert call(add).error is None
        transaction.commit()
    finally:
        transaction.set_autocommit(True)
    assert Patient.objects.count() == 2


@tool(description="Turn autocommit off.", safety=ToolSafety.EXTERNAL)
def turn_autocommit_off() -> None:
    transaction.set_autocommit(False)
    Patient.objects.create(name="by the tool", born=BORN)
    transaction.commit()


@live
def test_a_tool_that_turns_autocommit_off_does_so_for_itself():
    assert call(turn_autocommit_off).error is None
    Patient.objects.create(name="by the caller", born=BORN)
    connection.close()  # what was not committed is lost
    assert Patient.objects.count() == 2


@tool(description="Go back to the last savepoint.")
def go_back() -> None:
    if connection.savepoint_ids:
        connection.savepoint_rollback(connection.savepoint_ids[-1])
    Patient.objects.create(name="secret", born=BORN)


@live
def test_a_tool_does_not_see_the_callers_savepoints():
    with transaction.atomic(), transaction.atomic():
        assert "READ_ONLY" in str(call(go_back).error)
    assert not Patient.objects.exists()


@tool(description="Put a wrapper around every statement, and stay.", timeout_seconds=0.2)
def wrap_and_stay() -> None:
    def refuse(*args):
        raise RuntimeError("not any more")

    with connection.execute_wrapper(refuse):
        time.sleep(1.5)


@live
def test_a_tool_that_is_left_behind_takes_its_wrappers_along():
    with transaction.atomic():
        assert call(wrap_and_stay).error is not None
        assert Patient.objects.count() == 0


@tool(description="Never end.", timeout_seconds=0.5)
def never_end() -> object:
    return {"rows": itertools.repeat(1)}


@live
def test_what_may_never_end_is_not_read():
    """pydantic would read it without a pause in which anything could stop it."""
    assert "return a list" in str(call(never_end).error)


@dataclass
class Fussy:
    value: int

    def __post_init__(self):
        raise KeyError("no")


@tool(description="Be fussy.")
def be_fussy(what: Fussy) -> str:
    return "done"


@tool(description="Have a bound that does not fit.")
def bound_wrongly(number: int = ToolParam(min_length=3)) -> str:
    return "done"


@live
def test_what_reading_arguments_raises_ends_no_run(model):
    make_agent_with(model, be_fussy, bound_wrongly)
    made = ask(model, Call("be_fussy", {"what": {"value": 1}}), Call("bound_wrongly", {"number": 5}))
    assert [each.status for each in made] == ["error", "error"]
    assert "KeyError" in ToolCall.objects.first().traceback


class Options(BaseModel):
    limit: int = 3


@tool(description="Have a default of one's own.")
def with_options(options: Options = Options(limit=7)) -> int:  # noqa: B008
    return options.limit


@tool(description="Hold an integer that Python does not write down.")
def huge() -> int:
    return 10**5_000


@live
def test_defaults_and_results_of_odd_kinds(model):
    make_agent_with(model, with_options, huge)
    first, second = ask(model, Call("with_options"), Call("huge"))
    assert (first.status, first.result) == ("success", 7)
    assert second.status == "error"


@live
@pytest.mark.parametrize("kind", ["openai", "gemini", "anthropic"])
def test_halves_of_signs_and_no_numbers_end_no_run(model, kind):
    from tests.build import make_provider

    make_agent_with(model, with_options, provider=make_provider(model, kind=kind))
    odd = [Call("with_options", {"options": {"limit": "\ud800"}}), Call("with_options", {"x": float("nan")})]
    assert [each.status for each in ask(model, *odd)] == ["invalid_arguments"] * 2
    assert Invocation.objects.get().status == "success"


# In a test's transaction


@tool(description="Run another agent, and fail.", safety=ToolSafety.WRITE)
def run_and_fail() -> None:
    get_agent("other").run("hi")
    raise RuntimeError("after it")


def test_the_log_of_an_agent_in_a_tool_stays_when_the_tool_is_undone(model, north):
    agent = make_agent_with(model, run_and_fail)
    make_agent(model, "other", provider=agent.provider)
    model.script(Reply(calls=[Call("run_and_fail")]), "the other", "done")
    with transaction.atomic():
        get_agent("helper").run("hi")
        transaction.set_rollback(True)
    assert sorted(Invocation.objects.values_list("agent_name", "status")) == [
        ("helper", "success"),
        ("other", "success"),
    ]


# Approval


@tool(name="record_outside", description="Record.", requires_approval=True, safety=ToolSafety.EXTERNAL)
def record(name: str) -> str:
    recorded.append(name)
    return name


recorded: list[str] = []


@tool(name="look_about", description="Look.")
def look() -> bool:
    return True


def decide(response, decision=True):
    approvals = {pending.id: decision for pending in response.pending_approvals}
    return get_agent("helper").resume(response.run_id, approvals)


def test_a_decision_that_was_read_before_the_run_waited_again_makes_nothing_happen_twice(model, north):
    """Looking at the status alone, the run went on from where it had waited first."""
    make_agent_with(model, record)
    recorded.clear()
    model.script(
        Reply(calls=[Call("record_outside", {"name": "Ada"})]),
        Reply(calls=[Call("record_outside", {"name": "Ben"})]),
    )
    first = get_agent("helper").run("hi")
    seen = stored_runs.find("north", first.run_id)
    decide(first)
    assert not stored_runs.claim("north", seen)
    with pytest.raises(ValueError, match="lacks pending tool calls"):
        decide(first)
    assert recorded == ["Ada"]


def test_a_conversation_with_two_pauses_and_a_correction_is_remembered_whole(model, north):
    make_agent_with(model, record, look, short_term_memory=True, output_schema="json", output_retries=1)
    model.script(
        "no JSON at all",
        Reply(calls=[Call("look_about", id="1")]),
        Reply(calls=[Call("record_outside", {"name": "Ada"}, id="2")]),
    )
    response = get_agent("helper").run("the question")
    assert not MemoryMessage.objects.exists()
    model.script(Reply(calls=[Call("record_outside", {"name": "Ben"}, id="3")]), "{}")
    last = decide(decide(response))
    assert last.parsed_content == {}
    rows = MemoryMessage.objects.order_by("sequence").values_list("role", "tool_call_id", "content")
    assert [row[:2] for row in rows] == [
        ("user", ""),
        *[each for key in "123" for each in (("assistant", ""), ("tool", key))],
        ("assistant", ""),
    ]
    assert (rows[0][2], list(rows)[-1][2]) == ("the question", "{}")


def test_a_run_that_waits_goes_on_under_the_agents_new_name(model, north):
    make_agent_with(model, record)
    model.script(Reply(calls=[Call("record_outside", {"name": "Ada"})]), "done")
    response = get_agent("helper").run("hi")
    AgentConfig.objects.update(name="renamed")
    approvals = {response.pending_approvals[0].id: True}
    assert get_agent("renamed").resume(response.run_id, approvals).content == "done"


def test_a_mistake_of_the_caller_burns_no_approval(model, north):
    make_agent_with(model, record)
    model.script(Reply(calls=[Call("record_outside", {"name": "Ada"})]))
    response = get_agent("helper").run("hi")
    approvals = {response.pending_approvals[0].id: True}
    with pytest.raises(TypeError):
        get_agent("helper").resume(response.run_id, approvals, output_type=object())
    assert Invocation.objects.get().status == "awaiting_approval"
    Tool.objects.all().delete()
    AgentConfig.objects.update(is_enabled=False)
    helper = get_agent.__globals__["Agent"]("helper", "north")
    with pytest.raises(Exception, match="disabled"):
        helper.resume(response.run_id, approvals)
    assert ToolCall.objects.get().status == "denied"  # of a run that is over, nothing waits
    with pytest.raises(NotAwaitingApproval):
        helper.resume(response.run_id, approvals)


def test_what_a_run_goes_on_with_is_not_cut(model, north):
    agent = make_agent_with(model, record)
    AgentConfig.objects.filter(pk=agent.pk).update(timeout_seconds=120)
    text = "x" * 4_500_000 + "\x00 end"
    model.script(Reply(calls=[Call("record_outside", {"name": "Ada"})]), "done")
    response = get_agent("helper").run(text)
    decide(response)
    assert model.requests[1].body["messages"][0]["content"] == text


# Rows


def test_one_tool_without_a_schema_keeps_no_other_from_its_row(north, monkeypatch):
    monkeypatch.setattr(registry, "_tools", dict(registry._tools))

    class Opaque:
        pass

    @tool(name="opaque_one", description="Take what has no schema.")
    def opaque_one(what: Opaque) -> None: ...

    @tool(name="clear_one", description="Take nothing.")
    def clear_one() -> None: ...

    report = tool_rows.sync()
    assert "clear_one" in report.new
    assert "opaque_one" in str(report)
    assert not Tool.objects.filter(name="opaque_one").exists()


def test_no_thread_of_these_tests_is_left():
    deadline = time.monotonic() + 10
    while [thread for thread in threading.enumerate() if thread.name == "zango-ai-tool"]:
        assert time.monotonic() < deadline
        time.sleep(0.05)
