"""Tools in async runs, and ``async def`` tools in both kinds of run."""

import asyncio
import contextlib
import threading
import time

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from django.db import connection, transaction
from patients.models import Patient

from tests.build import make_agent, make_agent_with
from tests.schemas import active_schema
from zango_ai import LLMToolCall, ToolSafety, aget_agent, get_agent, tool
from zango_ai.models import Invocation
from zango_ai.models import ToolCall as ToolCallRow
from zango_ai.testing import Call, Reply

_loops = []


@tool(description="Admit a patient.", safety=ToolSafety.WRITE)
def admit_in_a_thread(name: str) -> str:
    Patient.objects.create(name=name, born="1957-03-09")
    return f"{active_schema()} {threading.current_thread().name}"


@tool(description="Admit a patient.", safety=ToolSafety.WRITE)
async def admit_on_the_loop(name: str) -> str:
    _loops.append(asyncio.get_running_loop())
    await Patient.objects.acreate(name=name, born="1957-03-09")
    if name == "Bad":
        raise ValueError("no such patient")
    return await sync_to_async(lambda: active_schema())()


@tool(description="Count.")
async def count_on_the_loop() -> int:
    return await Patient.objects.acount()


@tool(description="Write although it may only read.")
async def write_on_the_loop() -> str:
    await Patient.objects.acreate(name="Never", born="1957-03-09")
    return "written"


@tool(description="Wait.", timeout_seconds=0.3)
async def wait_on_the_loop() -> str:
    await asyncio.sleep(60)
    return "waited"


@tool(description="Wait in SQL.", timeout_seconds=0.3)
async def wait_in_sql_on_the_loop() -> str:
    await sync_to_async(sleep_in_sql)()
    return "waited"


@tool(description="Wait.", timeout_seconds=0.3)
def wait_in_a_thread() -> str:
    time.sleep(60)
    return "waited"


@tool(description="Ask another agent.", safety=ToolSafety.EXTERNAL)
async def ask_another() -> str:
    agent = await aget_agent("other")
    return (await agent.arun("hi")).content


@tool(description="Discharge.", safety=ToolSafety.WRITE, requires_approval=True)
async def discharge_on_the_loop(name: str) -> str:
    return f"discharged {name}"


def sleep_in_sql():
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_sleep(60)")


async def arun(text="hi"):
    agent = await aget_agent("helper")
    return await agent.arun(text)


def run_async(text="hi"):
    return asyncio.run(arun(text))


def run_under_async_to_sync(text="hi"):
    return async_to_sync(arun)(text)


def run_sync(text="hi"):
    return get_agent("helper").run(text)


def calls_of(model, run, *calls):
    model.script(Reply(calls=list(calls)), "done")
    return [(call.status, call.result) for call in run().tool_calls]


ALL = pytest.mark.parametrize("run", [run_sync, run_async, run_under_async_to_sync])


@ALL
def test_tools_of_both_kinds_work_in_the_tenant_of_the_run(model, live_north, run):
    make_agent_with(model, admit_in_a_thread, admit_on_the_loop, count_on_the_loop)
    calls = (Call("admit_in_a_thread", {"name": "Ada"}), Call("admit_on_the_loop", {"name": "Bo"}))
    results = calls_of(model, run, *calls, Call("count_on_the_loop"))
    assert [status for status, _ in results] == ["success"] * 3
    assert results[0][1].startswith("north ")
    assert [result for _, result in results[1:]] == ["north", 2]
    assert list(Patient.objects.order_by("name").values_list("name", flat=True)) == ["Ada", "Bo"]
    assert ToolCallRow.objects.filter(status="success").count() == 3


@ALL
def test_safety_and_time_limits_hold_for_async_tools(model, live_north, run):
    tools = [admit_on_the_loop, write_on_the_loop, wait_on_the_loop, wait_in_sql_on_the_loop, count_on_the_loop]
    make_agent_with(model, *tools)
    calls = [Call("admit_on_the_loop", {"name": "Bad"}), *(Call(each.tool.name) for each in tools[1:])]
    results = calls_of(model, run, *calls)
    assert [status for status, _ in results] == ["error", "error", "timeout", "timeout", "success"]
    assert results[-1][1] == 0
    assert not Patient.objects.exists()
    messages = list(ToolCallRow.objects.order_by("position").values_list("error_message", flat=True))
    assert "no such patient" in messages[0]
    assert "READ_ONLY" in messages[1]


@ALL
def test_async_tools_work_inside_a_test(model, north, run):
    make_agent_with(model, admit_on_the_loop, count_on_the_loop, write_on_the_loop, admit_in_a_thread)
    Patient.objects.create(name="Uncommitted", born="1957-03-09")
    calls = [Call("admit_on_the_loop", {"name": name}) for name in ("Ada", "Bad")]
    results = calls_of(
        model,
        run,
        *calls,
        Call("write_on_the_loop"),
        Call("count_on_the_loop"),
        Call("admit_in_a_thread", {"name": "B"}),
    )
    assert [status for status, _ in results] == ["success", "error", "error", "success", "success"]
    assert results[3][1] == 2
    assert set(Patient.objects.values_list("name", flat=True)) == {"Uncommitted", "Ada", "B"}
    with transaction.atomic():
        pass  # the connection is in order


def test_an_async_tool_runs_on_the_callers_event_loop(model, live_north):
    make_agent_with(model, admit_on_the_loop)
    model.script(Reply(calls=[Call("admit_on_the_loop", {"name": "Ada"})]), "done")

    async def main():
        await arun()
        return _loops[-1] is asyncio.get_running_loop()

    assert asyncio.run(main())


def test_a_slow_tool_in_a_thread_holds_up_no_other_run(model, live_north):
    make_agent_with(model, wait_in_a_thread)
    make_agent(model, "other", provider=get_agent_row("helper").provider)
    model.script(Reply(calls=[Call("wait_in_a_thread")]))

    async def main():
        slow = asyncio.create_task(arun())
        await asyncio.to_thread(model.wait_for_requests, 1)
        other = await aget_agent("other")
        await asyncio.gather(*(other.arun("hi") for _ in range(20)))
        return await slow

    assert [call.status for call in asyncio.run(main()).tool_calls] == ["timeout"]


def get_agent_row(name):
    from zango_ai.models import AgentConfig

    return AgentConfig.objects.get(name=name)


@pytest.mark.parametrize("fixture", ["live_north", "north"])
def test_an_async_tool_may_run_an_agent(model, request, fixture):
    request.getfixturevalue(fixture)
    make_agent_with(model, ask_another)
    make_agent(model, "other", provider=get_agent_row("helper").provider)
    model.script(Reply(calls=[Call("ask_another")]), "from the other", "done")
    (call,) = asyncio.run(arun()).tool_calls
    assert (call.status, call.result) == ("success", "from the other")
    assert Invocation.objects.filter(status="success").count() == 2


def test_cancelling_during_an_async_tool_rolls_it_back_and_logs_it(model, live_north):
    started = asyncio.Event()

    @tool(name="start_and_wait", description="Wait.", safety=ToolSafety.WRITE)
    async def start_and_wait() -> None:
        await Patient.objects.acreate(name="Half", born="1957-03-09")
        started.set()
        await asyncio.sleep(60)

    make_agent_with(model, start_and_wait)
    model.script(Reply(calls=[Call("start_and_wait")]))

    async def main():
        task = asyncio.create_task(arun())
        await started.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert Invocation.objects.get().status == "cancelled"
    assert not Patient.objects.exists()
    assert ToolCallRow.objects.get().status == "error"


def test_an_approved_async_tool_is_executed_by_aresume(model, live_north):
    make_agent_with(model, discharge_on_the_loop)
    model.script(Reply(calls=[Call("discharge_on_the_loop", {"name": "Ada"})]), "done")

    async def main():
        agent = await aget_agent("helper")
        waiting = await agent.arun("hi")
        (pending,) = waiting.pending_approvals
        return await agent.aresume(waiting.run_id, {pending.id: True}, decided_by="7")

    response = asyncio.run(main())
    assert response.content == "done"
    assert [(call.status, call.result) for call in response.tool_calls] == [("success", "discharged Ada")]


def test_the_rest_of_a_run_streams_after_an_approval(model, live_north):
    make_agent_with(model, discharge_on_the_loop)
    model.script(Reply(calls=[Call("discharge_on_the_loop", {"name": "Ada"})]), "one two three four")

    async def main():
        agent = await aget_agent("helper")
        waiting = await agent.arun("hi")
        (pending,) = waiting.pending_approvals
        return [chunk async for chunk in agent.aresume_stream(waiting.run_id, {pending.id: True})]

    chunks = asyncio.run(main())
    assert [chunk.type for chunk in chunks][:2] == ["tool_call", "tool_result"]
    assert "".join(chunk.delta_text for chunk in chunks) == chunks[-1].response.content == "one two three four"
    assert Invocation.objects.get().status == "success"


def test_tool_calls_are_told_in_an_async_stream(model, live_north):
    make_agent_with(model, admit_on_the_loop)
    model.script(Reply("Let me see.", calls=[Call("admit_on_the_loop", {"name": "Ada"})]), "Done.")

    async def main():
        agent = await aget_agent("helper")
        return [chunk async for chunk in agent.astream("hi")]

    chunks = [chunk for chunk in asyncio.run(main()) if chunk.type != "text"]
    types = ["round_end", "tool_call", "tool_result", "round_end", "final"]
    assert [chunk.type for chunk in chunks] == types
    assert isinstance(chunks[1].tool_call, LLMToolCall)
    assert [chunk.tool_call.status for chunk in chunks[1:3]] == ["running", "success"]


def test_an_async_tool_stays_a_coroutine_function():
    assert asyncio.iscoroutinefunction(admit_on_the_loop) or admit_on_the_loop.tool.is_async
    with contextlib.closing(wait_on_the_loop()) as coroutine:
        assert asyncio.iscoroutine(coroutine)
