"""The figures of tools: the ledger keeps them as calls end, so that pages count no rows."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import connection

from tests.build import make_agent_with
from tests.schemas import schema_context
from zango_ai import ToolSafety, get_agent, tool
from zango_ai.ledger import tool_calls
from zango_ai.models import InvocationRound, Tool, ToolCall, ToolUsage
from zango_ai.testing import Call, Reply


@tool(name="measure", description="Measures.", safety=ToolSafety.EXTERNAL)
def measure(of: str) -> str:
    if of == "nothing":
        raise ValueError("There is nothing to measure.")
    return f"{of}: 5"


def figures(name="measure"):
    row = Tool.objects.with_statistics().get(name=name)
    return row.calls, row.errors, row.timeouts


def counted():
    return {(row.tool_name, row.status): row.calls for row in ToolUsage.objects.all()}


def test_calls_are_counted_by_how_they_end(north, model):
    make_agent_with(model, measure)
    model.script(
        Reply(calls=[Call("measure", {"of": "it"}), Call("measure", {"of": "nothing"})]),
        Reply(calls=[Call("measure", {"wrong": 1}), Call("invented", {})]),
        "done",
    )
    get_agent("helper").run("hi")
    assert figures() == (3, 2, 0)
    assert counted() == {
        ("measure", "success"): 1,
        ("measure", "error"): 1,
        ("measure", "invalid_arguments"): 1,
    }
    row = Tool.objects.with_statistics().get(name="measure")
    timed = [call.duration_ms for call in ToolCall.objects.all() if call.duration_ms is not None]
    assert row.average_ms == pytest.approx(sum(timed) / len(timed))
    assert row.last_called_at is not None


def test_a_tool_that_was_never_called_has_no_average(north, model):
    make_agent_with(model, measure)
    row = Tool.objects.with_statistics().get(name="measure")
    assert (row.calls, row.average_ms, row.last_called_at) == (0, None, None)


def test_calls_beyond_the_limit_of_an_answer_are_counted(north, model, settings):
    settings.ZANGO_AI = {**settings.ZANGO_AI, "MAX_TOOL_CALLS_PER_ROUND": 1}
    make_agent_with(model, measure)
    model.script(Reply(calls=[Call("measure", {"of": "it"})] * 4), "done")
    get_agent("helper").run("hi")
    assert counted() == {("measure", "success"): 1, ("measure", "denied"): 3}


def test_a_call_is_counted_once_however_often_its_end_is_written(north, model):
    make_agent_with(model, measure)
    model.script(Reply(calls=[Call("measure", {"of": "it"})]), "done")
    run_id = get_agent("helper").run("hi").run_id
    call = ToolCall.objects.get()
    end = {"uid": call.uid, "position": 1, "tool_name": "measure", "status": "error", "duration_ms": 7}
    assert not tool_calls.write("north", run_id, 1, end)
    assert counted() == {("measure", "success"): 1}


@pytest.mark.usefixtures("live_north")
def test_parallel_runs_lose_no_call(model):
    make_agent_with(model, measure)
    model.script(*[Reply(calls=[Call("measure", {"of": "it"})] * 3), "done"] * 8)

    def run(_):
        try:
            with schema_context("north"):
                get_agent("helper").run("hi")
        finally:
            connection.close()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(run, range(8)))
    assert InvocationRound.objects.count() >= 8
    assert sum(counted().values()) == ToolCall.objects.filter(tool_name="measure").count()
